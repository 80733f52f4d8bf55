"""Trains R-FCN end to end by a YAML file, then tests it on the videos of the test list."""

from __future__ import annotations

from lib.cli.experiment import train_test
from lib.errors import command
from rfcn.evaluate import evaluate
from rfcn.train import train


@command
def main(argv: list[str] | None = None) -> None:
    train_test(argv, __doc__, "rfcn", train, evaluate)


if __name__ == "__main__":
    main()
