"""Measures the ranges inside FGFA's feature and flow networks that TEST.PRECISION int8 needs, on training clips.

Writes them beside the weights: fgfa-0000.params -> fgfa-0000.int8.json.
"""

from __future__ import annotations

from fgfa_rfcn.demo import CFG, WEIGHTS
from fgfa_rfcn.window import VideoDetector
from lib.cli.calibrate import main_of
from lib.errors import command


@command
def main(argv: list[str] | None = None) -> None:
    main_of(argv, __doc__, cfg=CFG, weights=WEIGHTS, load=VideoDetector.load)


if __name__ == "__main__":
    main()
