"""Detect objects in images, videos or a camera's frames, one frame at a time."""

from __future__ import annotations

from dff_rfcn.method import METHOD
from lib.cli.demo import run_demo


def main(argv: list[str] | None = None) -> None:
    run_demo(argv, METHOD)


if __name__ == "__main__":
    main()
