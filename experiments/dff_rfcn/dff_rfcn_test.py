"""Test on the videos of the test list: write detections and compute mean average precision."""

from __future__ import annotations

from dff_rfcn.method import METHOD
from lib.cli.experiment import test_only


def main(argv: list[str] | None = None) -> None:
    test_only(argv, METHOD)


if __name__ == "__main__":
    main()
