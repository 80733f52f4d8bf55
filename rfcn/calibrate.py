"""Measures the ranges inside R-FCN's feature network that TEST.PRECISION int8 needs, on training clips.

Writes them beside the weights: rfcn-0000.params -> rfcn-0000.int8.json.
"""

from __future__ import annotations

from lib.cli.calibrate import main_of
from lib.errors import command
from rfcn.demo import CFG, WEIGHTS
from rfcn.detector import FrameDetector


@command
def main(argv: list[str] | None = None) -> None:
    main_of(argv, __doc__, cfg=CFG, weights=WEIGHTS, load=FrameDetector.load)


if __name__ == "__main__":
    main()
