"""Detects objects like demo.py, ten frames at a time."""

from __future__ import annotations

from lib.cli.demo import main_of, make_parser
from lib.errors import command
from rfcn.demo import CFG, WEIGHTS
from rfcn.evaluate import make_detector

BATCH = 10


@command
def main(argv: list[str] | None = None) -> None:
    args = make_parser(__doc__, cfg=CFG, weights=WEIGHTS).parse_args(argv)
    main_of(args, "rfcn", make_detector, BATCH)


if __name__ == "__main__":
    main()
