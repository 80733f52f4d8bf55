"""Detects objects in pictures, films or a camera's frames, one frame at a time, by flow-guided feature aggregation."""

from __future__ import annotations

from fgfa_rfcn.evaluate import make_detector
from lib.engine.demo import main_of
from lib.errors import command

CFG = "experiments/fgfa_rfcn/cfgs/resnet_small_flownet_minivid_rfcn_end2end_ohem.yaml"
WEIGHTS = "model/minivid/fgfa-0000.params"


@command
def main(argv: list[str] | None = None) -> None:
    main_of(argv, __doc__, "fgfa_rfcn", make_detector, cfg=CFG, weights=WEIGHTS)


if __name__ == "__main__":
    main()
