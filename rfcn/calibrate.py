"""Measure the value ranges that TEST.PRECISION int8 needs, and write them next to the weights."""

from __future__ import annotations

from lib.cli.calibrate import run_calibration
from rfcn.method import METHOD


def main(argv: list[str] | None = None) -> None:
    run_calibration(argv, METHOD)


if __name__ == "__main__":
    main()
