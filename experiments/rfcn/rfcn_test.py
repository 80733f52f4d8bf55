"""Tests R-FCN on the videos of the test list: detections, and mean average precision."""

from __future__ import annotations

from lib.cli.experiment import test_only
from lib.errors import command
from rfcn.evaluate import evaluate


@command
def main(argv: list[str] | None = None) -> None:
    test_only(argv, __doc__, "rfcn", evaluate)


if __name__ == "__main__":
    main()
