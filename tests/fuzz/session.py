"""Draws the cases of a run from its seed and runs them one after another."""

from __future__ import annotations

import argparse
import importlib.util
import random
import shlex
import sys
from collections import Counter
from pathlib import Path

import cv2
from tqdm import tqdm

from tests.fuzz.case import run
from tests.fuzz.targets import TARGETS, Target

GOOD = ("clear error", "success")
BAD = ("traceback", "crash", "hang", "memory", "several lines", "outside", "wrong success")


def preload() -> None:
    """Imports what the commands need, so that no child does it again."""
    cv2.setNumThreads(0)
    for target in TARGETS:
        target.main()
    if importlib.util.find_spec("mxnet"):
        from lib.backends.mxnet import library
        from lib.backends.mxnet.loader import mx

        _ = mx.nd
        library.load()
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)
    import lib.eval.pictures  # noqa: F401


def drawn(number: int, seed: int, slow: float, part: str | None) -> Target:
    """The command of a case."""
    rng = random.Random(f"{seed}:{number}:target")
    known = [target for target in TARGETS if not part or part in target.name]
    kinds = [[target for target in known if target.slow == kind] for kind in (False, True)]
    chosen = kinds[1] if kinds[1] and (rng.random() < slow or not kinds[0]) else kinds[0]
    return rng.choice(chosen)


def run_cases(args: argparse.Namespace, folder: Path) -> dict[str, Counter]:
    """How the cases ended, by command. Prints each failure, and with `--only` the case, as soon as it is known."""
    table: dict[str, Counter] = {}
    numbers = range(args.first, args.n) if args.only is None else [args.only]
    for number in tqdm(numbers, desc="fuzz", unit=" cases", disable=None):
        target = drawn(number, args.seed, args.slow, args.target)
        verdict, done = run(target, folder / "corpus", folder / "work" / "case", f"{args.seed}:{number}")
        table.setdefault(target.name, Counter())[verdict.kind] += 1
        if args.only is not None or verdict.kind not in GOOD:
            lines = [f"case {number}, {target.name}: {verdict.kind}: {verdict.detail}", *done]
            if args.only is None:
                part = f" --target {shlex.quote(args.target)}" if args.target else ""
                lines.append(
                    f"repeat: python -m tests.fuzz --seed {args.seed} --slow {args.slow} --only {number}{part}"
                )
            tqdm.write("\n    ".join(lines).encode(errors="backslashreplace").decode(), file=sys.stdout)
            sys.stdout.flush()
    return table


def printed(table: dict[str, Counter]) -> str:
    """The table of how the cases of each command ended."""
    columns = (*GOOD, *BAD)
    lines = [f"{'command':28}" + "".join(f"{name:>15}" for name in columns)]
    for name, row in [*sorted(table.items()), ("all", sum(table.values(), Counter()))]:
        lines.append(f"{name:28}" + "".join(f"{row[column]:15d}" for column in columns))
    return "\n".join(lines)
