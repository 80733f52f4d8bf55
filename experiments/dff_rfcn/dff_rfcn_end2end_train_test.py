"""Train end to end with the settings of a YAML file, then test on the videos of the test list."""

from __future__ import annotations

from dff_rfcn.method import METHOD
from lib.cli.experiment import train_and_test


def main(argv: list[str] | None = None) -> None:
    train_and_test(argv, METHOD)


if __name__ == "__main__":
    main()
