"""Detects objects in pictures, films or a camera's frames, one frame at a time, by flow-guided feature aggregation."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from fgfa_rfcn.evaluate import make_detector
from fgfa_rfcn.explain import explain
from lib.cli.demo import main_of, make_parser
from lib.cli.setup import classes_of
from lib.config import load_config
from lib.errors import command
from lib.video.clips import open_clips

CFG = "experiments/fgfa_rfcn/cfgs/resnet_small_flownet_minivid_rfcn_end2end_ohem.yaml"
WEIGHTS = "model/minivid/fgfa-0000.params"
# The method that --explain puts beside FGFA: package, settings, weights.
BASELINE = (
    "rfcn",
    "experiments/rfcn/cfgs/resnet_small_minivid_rfcn_end2end_ohem.yaml",
    "model/minivid/rfcn-0000.params",
)


@command
def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, cfg=CFG, weights=WEIGHTS)
    parser.add_argument(
        "--explain",
        nargs="+",
        type=int,
        metavar="FRAME",
        help="for these frames, counted from 0, also draw the flow to every neighbour, their weights, and the boxes of "
        "the baseline beside FGFA's, into the output folder's explain/",
    )
    parser.add_argument(
        "--baseline",
        nargs=3,
        metavar=("METHOD", "YAML", "WEIGHTS"),
        default=BASELINE,
        help=f"what --explain compares with (default: {' '.join(BASELINE)})",
    )
    args = parser.parse_args(argv)
    cfg = main_of(args, "fgfa_rfcn", make_detector)
    if args.explain:
        method, baseline_cfg, baseline_weights = args.baseline
        baseline = import_module(f"{method}.evaluate").make_detector(load_config(baseline_cfg), baseline_weights)
        clip, *_ = open_clips(args.input, frames=args.frames, max_size=args.max_size)
        folder = Path(args.output[0] if args.output else f"output/demo/fgfa_rfcn/{clip.name}") / "explain"
        explain(cfg, args.weights, clip, args.explain, folder, classes_of(cfg), args.threshold, baseline)


if __name__ == "__main__":
    main()
