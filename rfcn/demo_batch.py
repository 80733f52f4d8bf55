"""Like demo.py, but processes ten frames at a time."""

from __future__ import annotations

from lib.cli.demo import run_demo
from rfcn.method import METHOD


def main(argv: list[str] | None = None) -> None:
    run_demo(argv, METHOD, batch=10)


if __name__ == "__main__":
    main()
