"""Detects objects in pictures, films or a camera's frames, one frame at a time, by the frame baseline R-FCN."""

from __future__ import annotations

from lib.engine.demo import main_of
from lib.errors import command
from rfcn.evaluate import make_detector

CFG = "experiments/rfcn/cfgs/resnet_small_minivid_rfcn_end2end_ohem.yaml"
WEIGHTS = "model/minivid/rfcn-0000.params"


@command
def main(argv: list[str] | None = None) -> None:
    main_of(argv, __doc__, "rfcn", make_detector, cfg=CFG, weights=WEIGHTS)


if __name__ == "__main__":
    main()
