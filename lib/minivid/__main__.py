"""`python -m lib.dataset.minivid`: makes the MiniVID dataset, or prints what one is made of."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from lib.errors import command

from .settings import Settings
from .statistics import table
from .write import generate


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The options."""
    default = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m lib.dataset.minivid",
        description="Makes MiniVID: clips of moving things in the layout of ImageNet VID, the same for the same seed.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("data/MiniVID"), help="folder to make; it must not be there")
    parser.add_argument("--seed", type=int, default=default.seed, help="another seed gives other clips")
    parser.add_argument("--train", type=int, default=default.train, help="clips to train on")
    parser.add_argument("--val", type=int, default=default.val, help="clips to test on")
    parser.add_argument("--frames", type=int, default=default.frames, help="frames in a clip")
    parser.add_argument("--height", type=int, default=default.height, help="pixels of a frame")
    parser.add_argument("--width", type=int, default=default.width, help="pixels of a frame")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: one for each core")
    parser.add_argument("--statistics", type=Path, metavar="FOLDER", help="make nothing; print what FOLDER is made of")
    return parser.parse_args(argv)


@command
def main(argv: list[str] | None = None) -> None:
    """Runs the command line."""
    args = parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.statistics is not None:
        Settings.load(args.statistics)
        sys.stdout.write(table(args.statistics) + "\n")
        return
    settings = Settings(args.seed, args.train, args.val, args.frames, args.height, args.width)
    generate(args.out, settings, args.workers)


if __name__ == "__main__":
    main()
