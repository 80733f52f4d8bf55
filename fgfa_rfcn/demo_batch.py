"""Detects objects like demo.py, ten frames at a time."""

from __future__ import annotations

from fgfa_rfcn.demo import CFG, WEIGHTS
from fgfa_rfcn.evaluate import make_detector
from lib.cli.demo import main_of, make_parser
from lib.errors import command

BATCH = 10


@command
def main(argv: list[str] | None = None) -> None:
    args = make_parser(__doc__, cfg=CFG, weights=WEIGHTS).parse_args(argv)
    main_of(args, "fgfa_rfcn", make_detector, BATCH)


if __name__ == "__main__":
    main()
