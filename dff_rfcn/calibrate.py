"""Measure the value ranges that TEST.PRECISION int8 needs, and write them next to the weights."""

from __future__ import annotations

from dff_rfcn.method import METHOD
from lib.cli.calibrate import run_calibration


def main(argv: list[str] | None = None) -> None:
    run_calibration(argv, METHOD)


if __name__ == "__main__":
    main()
