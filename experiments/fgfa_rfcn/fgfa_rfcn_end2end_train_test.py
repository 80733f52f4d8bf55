"""Trains FGFA end to end by a YAML file, then tests it on the videos of the test list."""

from __future__ import annotations

from fgfa_rfcn.evaluate import evaluate
from fgfa_rfcn.train import train
from lib.cli.experiment import train_test
from lib.errors import command


@command
def main(argv: list[str] | None = None) -> None:
    train_test(argv, __doc__, "fgfa_rfcn", train, evaluate)


if __name__ == "__main__":
    main()
