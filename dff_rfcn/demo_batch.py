"""Like demo.py, but processes a key frame and those up to the next, at most ten frames, at a time."""

from __future__ import annotations

from dff_rfcn.method import METHOD
from lib.cli.demo import run_demo


def main(argv: list[str] | None = None) -> None:
    run_demo(argv, METHOD, batch=10)


if __name__ == "__main__":
    main()
