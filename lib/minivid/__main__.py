"""`python -m lib.dataset.minivid`: generates the MiniVID dataset, or prints statistics of one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lib.argument import Parser
from lib.errors import command, start_logging

from .settings import Settings
from .statistics import table
from .write import generate


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command-line options."""
    default = Settings()
    parser = Parser(
        prog="python -m lib.dataset.minivid",
        description="Generates MiniVID: synthetic clips in the layout of ImageNet VID. Equal options give equal files.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("data/MiniVID"), help="output folder; must not exist yet")
    parser.add_argument("--seed", type=int, default=default.seed, help="random seed of the clips")
    parser.add_argument("--train", type=int, default=default.train, help="number of training clips")
    parser.add_argument("--val", type=int, default=default.val, help="number of validation clips")
    parser.add_argument("--frames", type=int, default=default.frames, help="frames per clip")
    parser.add_argument("--height", type=int, default=default.height, help="frame height in pixels")
    parser.add_argument("--width", type=int, default=default.width, help="frame width in pixels")
    parser.add_argument("--workers", type=int, default=0, help="number of processes; 0: one per core")
    parser.add_argument("--statistics", type=Path, metavar="FOLDER", help="only print statistics of FOLDER")
    return parser.parse_args(argv)


@command
def main(argv: list[str] | None = None) -> None:
    """Runs the command line."""
    args = parse_args(argv)
    start_logging()
    if args.statistics is not None:
        Settings.load(args.statistics)
        sys.stdout.write(table(args.statistics) + "\n")
        return
    settings = Settings(args.seed, args.train, args.val, args.frames, args.height, args.width)
    generate(args.out, settings, args.workers)


if __name__ == "__main__":
    main()
