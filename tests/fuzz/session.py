"""Draws the cases of a run from its seed and runs them one after another."""

from __future__ import annotations

import argparse
import importlib.util
import os
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


def run_cases(args: argparse.Namespace, folder: Path) -> tuple[dict[str, Counter], list[str]]:
    """How the cases ended, by command, and a text for each failure."""
    table: dict[str, Counter] = {}
    failures = []
    numbers = range(args.first, args.n) if args.only is None else [args.only]
    for number in tqdm(numbers, desc="fuzz", unit=" cases", disable=None):
        target = drawn(number, args.seed, args.slow, args.target)
        verdict, done = run(target, folder / "corpus", folder / "work" / "case", f"{args.seed}:{number}")
        table.setdefault(target.name, Counter())[verdict.kind] += 1
        text = f"case {number}, {target.name}: {verdict.kind}: {verdict.detail}\n    " + "\n    ".join(done)
        if args.only is not None:
            tqdm.write(text, file=sys.stdout)
        if verdict.kind not in GOOD:
            same = [f"--slow {args.slow}"] * (args.slow != 0.15)
            same += [f"--target {shlex.quote(args.target)}"] if args.target else []
            again = " ".join(["python -m tests.fuzz", f"--seed {args.seed}", f"--only {number}", *same])
            failures.append(f"{text}\n    repeat: {again}".encode(errors="backslashreplace").decode())
            if os.environ.get("FUZZ_SHOW"):
                tqdm.write(failures[-1], file=sys.stdout)
    return table, failures
