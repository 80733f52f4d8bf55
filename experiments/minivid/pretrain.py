"""Pre-trains a network for detection on MiniVID: the backbone, by classifying rendered objects, or the flow network.

Writes <network.pretrained>-0000.params or <network.pretrained_flow>-0000.params. Existing weights are kept.
A path outside the working folder must be given with --set, not in the YAML file.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from lib.argument import Parser
from lib.cli.options import add_settings, begin
from lib.cli.signals import log_file, stop_requested
from lib.errors import command
from lib.files import locked
from lib.methods import method_of
from lib.minivid.pretrain_backbone import train_backbone
from lib.minivid.pretrain_flow import train_flow
from lib.reading import inside

log = logging.getLogger(__name__)


@command
def main(argv: list[str] | None = None) -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("backbone", "flow"), help="what to train")
    add_settings(parser)
    parser.add_argument(
        "--resume", action="store_true", help="continue from the newest checkpoint (TRAIN.RESUME: true)"
    )
    parser.add_argument("--again", action="store_true", help="train again even if the weights exist")
    args = parser.parse_args(argv)
    cfg = begin(args.cfg, args.set, method_of(args.cfg).schema)
    cfg.TRAIN.RESUME = cfg.TRAIN.RESUME or args.resume
    key = "pretrained" if args.stage == "backbone" else "pretrained_flow"
    prefix = Path(cfg.network[key])
    # From a file, which a stranger may have written.
    if not any(text.startswith(f"network.{key}=") for text in args.set):
        inside(Path.cwd(), str(prefix), f"{args.cfg}: network.{key} says where to write; to do so anywhere, use --set")
    path = prefix.with_name(f"{prefix.name}-0000.params")
    train = train_backbone if args.stage == "backbone" else train_flow
    folder = prefix.parent / "training"
    with locked(folder):  # also removes what a killed process left
        if path.exists() and not args.again:
            log.info("%s exists already; use --again to train it again", path)
            return
        with log_file(folder / "train.log"), stop_requested() as stopped:
            path = train(cfg, prefix, stopped)
    log.info("wrote %s", path)


if __name__ == "__main__":
    main()
