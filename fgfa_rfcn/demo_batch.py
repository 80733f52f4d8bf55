"""Detects objects like demo.py, ten frames at a time."""

from __future__ import annotations

from fgfa_rfcn.demo import CFG, WEIGHTS
from fgfa_rfcn.evaluate import make_detector
from lib.engine.demo import main_of
from lib.errors import command

BATCH = 10


@command
def main(argv: list[str] | None = None) -> None:
    main_of(argv, __doc__, "fgfa_rfcn", make_detector, cfg=CFG, weights=WEIGHTS, batch=BATCH)


if __name__ == "__main__":
    main()
