"""Detects objects in pictures, films or a camera's frames, one frame at a time, by the frame baseline R-FCN."""

from __future__ import annotations

from lib.cli.demo import main_of, make_parser
from lib.errors import command
from rfcn.evaluate import make_detector

CFG = "experiments/rfcn/cfgs/resnet_small_minivid_rfcn_end2end_ohem.yaml"
WEIGHTS = "model/minivid/rfcn-0000.params"


@command
def main(argv: list[str] | None = None) -> None:
    args = make_parser(__doc__, cfg=CFG, weights=WEIGHTS).parse_args(argv)
    main_of(args, "rfcn", make_detector)


if __name__ == "__main__":
    main()
