"""Detects objects like demo.py, ten frames at a time."""

from __future__ import annotations

from lib.engine.demo import main_of
from lib.errors import command
from rfcn.demo import CFG, WEIGHTS
from rfcn.evaluate import make_detector

BATCH = 10


@command
def main(argv: list[str] | None = None) -> None:
    main_of(argv, __doc__, "rfcn", make_detector, cfg=CFG, weights=WEIGHTS, batch=BATCH)


if __name__ == "__main__":
    main()
