"""Kills commands with -9 at random moments, runs them again, and compares what they wrote with an uninterrupted run.

    python -m tests.reliability.kills [--trials 100] [--seed 0] [--only "train rfcn"]

Prints survived/tried by command. Half of the moments are points in time; the others are before a change of the folder:
a file that is opened for writing, renamed or deleted. The same seed gives the same moments, those in time as shares of
the measured duration.

Trainings in several processes have the variables of torchrun or of MXNet's parameter server. The moments in time kill
any of the processes, those between changes the first one, which writes. The others must end within 60 seconds.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests import tiny
from tests.reliability.cases import BACKENDS, cases, prepare
from tests.reliability.compare import broken, differences
from tests.reliability.processes import NOTICING, Moment, run

# Of weights and states of a training that went on in another process. MXNet repeats itself to the bit.
TOLERANCE = {"mxnet": 0.0, "torch": 1e-5}
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where fsync costs nothing
IMPORTED = (
    *("lib.cli.experiment", "lib.cli.demo", "lib.dataset.import_coco", "lib.eval.vid_map", "lib.eval.pictures"),
    *("lib.minivid.pretrain_backbone", "lib.minivid.pretrain_flow", "rfcn.detector", "fgfa_rfcn.window", "scipy.io"),
    *("lib.methods", *(f"lib.backends.{name}.{part}" for name in BACKENDS for part in ("backend", "loader"))),
)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reference:
    """An uninterrupted run: what it wrote, its duration and the number of changes of its folder."""

    folder: Path
    seconds: float
    changes: int


class Kills:
    """Runs the commands in `folder`, each in the same place, so that files with paths in them can be compared."""

    what = "killed"

    def __init__(self, folder: Path) -> None:
        for name in IMPORTED:  # once, instead of in every forked process
            importlib.import_module(name)
        if tiny.BACKEND == "mxnet":
            from lib.backends.mxnet.loader import mx

            _ = mx.nd  # imported at the first use
        self.inputs, self.work, self.output = folder / "inputs", folder / "work", folder / "output.txt"
        self.folder = folder
        prepare_in_child(self.inputs)
        self.cases = cases(self.inputs, self.work)

    def reference(self, name: str) -> Reference:
        """Raises RuntimeError if the command fails."""
        self._fresh()
        started = time.monotonic()
        ended = run(self.cases[name], self.work, self.output)
        if ended.status:
            raise RuntimeError(f"{name}: fails with status {ended.status}:\n{self.output.read_text()}")
        seconds = time.monotonic() - started
        folder = self.folder / f"reference {name}"
        self.work.rename(folder)
        return Reference(folder, seconds, ended.changes)

    def trial(self, name: str, reference: Reference, moment: Moment) -> list[str]:
        """What was lost, a line each; empty if the command survived."""
        self._fresh()
        case = self.cases[name]
        late = run(case, self.work, self.output, moment=moment).late
        faults = [f"process {number} has not ended within {NOTICING} s" for number in late]
        faults += broken(self.work)
        if case.complete is None or not case.complete.exists():
            status = run(case, self.work, self.output, resume=True).status
            if status:
                faults.append(f"status {status} when run again")
        return [*faults, *differences(self.work, reference.folder, tolerance=TOLERANCE[case.backend])]

    def moments(self, name: str, reference: Reference, count: int, rng: np.random.Generator) -> list[Moment]:
        """Half of them in time, half between changes of the folder."""
        processes = len(self.cases[name].processes())
        return [
            Moment(
                seconds=float(rng.uniform(0, reference.seconds)),
                process=int(rng.integers(processes)) if processes > 1 else 0,
            )
            if number % 2
            else Moment(change=int(rng.integers(reference.changes)))
            for number in range(count)
        ]

    def place(self, moment: Moment) -> str:
        return str(moment)

    def _fresh(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        self.output.write_text("")


def prepare_in_child(inputs: Path) -> None:
    """Prepares in a process of its own: this one must not start the threads of a backend before it forks."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            prepare(inputs)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("preparing the inputs failed; see above")


def campaign(kills: Kills, names: Sequence[str], trials: int, seed: int) -> tuple[Counter, Counter, list[str]]:
    """(tried and survived by command, a text for each loss), with the trials shared out over the commands."""
    tried: Counter[str] = Counter()
    survived: Counter[str] = Counter()
    losses = []
    for number, name in enumerate(names):
        share = trials // len(names) + (number < trials % len(names))
        if not share:
            continue
        reference = kills.reference(name)
        for moment in kills.moments(name, reference, share, np.random.default_rng([seed, number])):
            faults = kills.trial(name, reference, moment)
            log.info(
                "%s, %s %s: %s",
                name,
                kills.what,
                kills.place(moment),
                "; ".join(["LOST", *faults]) if faults else "survived",
            )
            tried[name] += 1
            survived[name] += not faults
            if faults:
                output = "\n  ".join(kills.output.read_text().splitlines()[-8:])
                losses.append(
                    f"{name}, {kills.what} {kills.place(moment)}:\n  "
                    + "\n  ".join(faults)
                    + f"\n  output:\n  {output}"
                )
    return tried, survived, losses


def start(kind: type[Kills], doc: str, *, trials: int, folder: str | None) -> int:
    """The command line of this module and of `disks`: exit status 1 if anything was lost."""
    known = list(cases(Path("inputs"), Path("work")))
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--trials", type=int, default=trials, help="in total (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--only", nargs="+", choices=known, default=known, help="commands (default: all)")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory(prefix="reliability-", dir=folder) as name:
        tried, survived, losses = campaign(kind(Path(name)), args.only, args.trials, args.seed)
    sys.stdout.write(f"{kind.what}, seed {args.seed}, {tiny.BACKEND}: survived/tried\n")
    for name in args.only:
        sys.stdout.write(f"  {name:<20} {survived[name]:>4}/{tried[name]}\n")
    sys.stdout.write(f"  {'all':<20} {sum(survived.values()):>4}/{sum(tried.values())}\n")
    sys.stdout.write("".join(f"\nLOST: {each}\n" for each in losses))
    return int(bool(losses))


if __name__ == "__main__":
    sys.exit(start(Kills, __doc__, trials=100, folder=MEMORY))
