"""Tests FGFA on the videos of the test list: detections, and mean average precision."""

from __future__ import annotations

from fgfa_rfcn.evaluate import evaluate
from lib.cli.experiment import test_only
from lib.errors import command


@command
def main(argv: list[str] | None = None) -> None:
    test_only(argv, __doc__, "fgfa_rfcn", evaluate)


if __name__ == "__main__":
    main()
