"""Runs every command on damaged inputs: `python -m tests.fuzz -n 5000 --seed 1`, or `make fuzz N=5000 SEED=1`.

Each case is a child process with limits of time and memory. Prints a table of how they ended, and for each failure the
command that repeats it. Exit status 1 if there is one.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path


def main() -> int:
    """Runs the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("-n", type=int, default=5000, help="number of cases (default: %(default)s)")
    add("--first", type=int, default=0, metavar="CASE", help="start at this case (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of all damage (default: %(default)s)")
    add("--only", type=int, metavar="CASE", help="only this case, with its output; its folder is kept")
    add("--target", help="only commands whose name contains this")
    add("--slow", type=float, default=0.15, help="share of commands that run a network (default: %(default)s)")
    args = parser.parse_args()
    # Before the imports: threads of libraries do not survive a fork.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MALLOC_ARENA_MAX="1", MPLBACKEND="agg")
    from tests.fuzz import corpus
    from tests.fuzz.session import BAD, preload, printed, run_cases

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        child = os.fork()  # networks run only in children, so that this process starts no threads
        if child == 0:
            corpus.make(folder / "corpus")
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise SystemExit("the corpus could not be made")
        preload()
        started = time.monotonic()
        table = run_cases(args, folder)
    finally:
        if args.only is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(printed(table))
    total = sum(table.values(), Counter())
    failures = sum(total[kind] for kind in BAD)
    print(f"{sum(total.values())} cases, {failures} failures, {time.monotonic() - started:.0f} s, seed {args.seed}")
    if args.only is not None:
        print(f"kept: {folder}")
    return 1 if failures else 0


if __name__ == "__main__":
    random.seed(0)
    sys.exit(main())
