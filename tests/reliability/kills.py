"""Kills commands with -9 at random moments, runs them again, and compares what they wrote with an uninterrupted run.

    python -m tests.reliability.kills [--trials 100] [--seed 0] [--only "train rfcn"]

Prints survived/tried by command. Half of the moments are points in time; the others are before a change of the folder:
a file that is opened for writing, renamed or deleted. The same seed gives the same moments, those in time as shares of
the measured duration.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import logging
import os
import shutil
import signal
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
from tests.reliability.cases import Case, cases, prepare
from tests.reliability.compare import broken, differences

# Of weights and states of a training that went on in another process. MXNet repeats itself to the bit.
TOLERANCE = {"mxnet": 0.0, "torch": 1e-5}[tiny.BACKEND]
PR_SET_PDEATHSIG = 1  # a child ends with this process
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where fsync costs nothing
IMPORTED = (
    *("lib.cli.experiment", "lib.cli.demo", "lib.dataset.import_coco", "lib.eval.vid_map", "lib.eval.pictures"),
    *("lib.minivid.pretrain_backbone", "lib.minivid.pretrain_flow", "rfcn.detector", "fgfa_rfcn.window", "scipy.io"),
    *("lib.methods", f"lib.backends.{tiny.BACKEND}.backend", f"lib.backends.{tiny.BACKEND}.loader"),
)
LIMIT = 300  # seconds for a command
log = logging.getLogger(__name__)
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod")


@dataclass(frozen=True)
class Moment:
    """When to kill: before the change number `change`, or after `seconds`."""

    change: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return f"before change {self.change} of the folder" if self.seconds is None else f"after {self.seconds:.2f} s"


@dataclass(frozen=True)
class Reference:
    """An uninterrupted run: what it wrote, its duration and the number of changes of its folder."""

    folder: Path
    seconds: float
    changes: int


def run(case: Case, work: Path, output: Path, *, resume: bool = False, moment: Moment | None = None) -> tuple[int, int]:
    """Runs a command in a forked process: (exit status, -9 if it was killed; changes of `work`). Prints to `output`."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setsid()
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.close(reading)
            with open(output, "ab", buffering=0) as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            changes = _count_changes(work, moment.change if moment else None)
            status = _status(case, [*case.argv, *(case.resumed if resume else ())])
            os.write(writing, str(changes[0]).encode())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    os.close(writing)
    limit = moment.seconds if moment and moment.seconds is not None else LIMIT
    status = _wait(pid, limit)
    if status is None:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if limit == LIMIT:
            raise TimeoutError(f"{case.argv}: ran for more than {LIMIT} s")
    try:
        os.killpg(pid, signal.SIGKILL)  # its workers
    except ProcessLookupError:
        pass
    with open(reading, "rb") as pipe:
        changes = int(pipe.read() or b"0")
    return os.waitstatus_to_exitcode(status), changes


def _wait(pid: int, seconds: float) -> int | None:
    """The status of a process when it has ended; None if it has not after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    return None


def _status(case: Case, argv: list[str]) -> int:
    try:
        case.call(argv)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _count_changes(work: Path, last: int | None) -> list[int]:
    """Counts the changes below `work` that this process is about to make, in place. Kills it before number `last`."""
    count, below = [0], str(work)

    def hook(event: str, args: tuple) -> None:
        if event == "open":
            changing = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            changing = event in CHANGES
        if changing and isinstance(args[0], (str, os.PathLike)) and os.fspath(args[0]).startswith(below):
            if count[0] == last:
                os.kill(os.getpid(), signal.SIGKILL)
            count[0] += 1

    sys.addaudithook(hook)
    return count


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
        status, changes = run(self.cases[name], self.work, self.output)
        if status:
            raise RuntimeError(f"{name}: fails with status {status}:\n{self.output.read_text()}")
        seconds = time.monotonic() - started
        folder = self.folder / f"reference {name}"
        self.work.rename(folder)
        return Reference(folder, seconds, changes)

    def trial(self, name: str, reference: Reference, moment: Moment) -> list[str]:
        """What was lost, a line each; empty if the command survived."""
        self._fresh()
        case = self.cases[name]
        run(case, self.work, self.output, moment=moment)
        faults = broken(self.work)
        if case.complete is None or not case.complete.exists():
            status, _ = run(case, self.work, self.output, resume=True)
            if status:
                faults.append(f"status {status} when run again")
        return [*faults, *differences(self.work, reference.folder, tolerance=TOLERANCE)]

    def moments(self, reference: Reference, count: int, rng: np.random.Generator) -> list[Moment]:
        """Half of them in time, half between changes of the folder."""
        return [
            Moment(seconds=float(rng.uniform(0, reference.seconds)))
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
        for moment in kills.moments(reference, share, np.random.default_rng([seed, number])):
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
