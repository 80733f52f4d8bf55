"""Runs a command in one forked process or in several, and kills one of them at a given moment."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.cases import Case

LIMIT = 300  # seconds for a command
NOTICING = 60  # seconds in which the other processes of a killed one end
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod")
PR_SET_PDEATHSIG = 1  # a child ends with this process


@dataclass(frozen=True)
class Moment:
    """When to kill which process: before its change number `change`, or after `seconds`."""

    change: int | None = None
    seconds: float | None = None
    process: int = 0

    def __str__(self) -> str:
        when = f"before change {self.change} of the folder" if self.seconds is None else f"after {self.seconds:.2f} s"
        return f"process {self.process} {when}" if self.process else when


@dataclass(frozen=True)
class Ended:
    """A command that has ended: the first status of its processes that is not 0, -9 if that one was killed; the changes
    of `work`; the processes that were still there 60 seconds after another one was killed.
    """

    status: int
    changes: int
    late: list[int]


class _Forked:
    """A process that runs a command. It is killed before change number `last`. Prints to `output`."""

    def __init__(self, case: Case, argv: list[str], variables: dict, work: Path, output: Path, last: int | None):
        self.status: int | None = None
        reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                os.setsid()
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                os.close(reading)
                with open(output, "ab", buffering=0) as file:
                    os.dup2(file.fileno(), 1)
                    os.dup2(file.fileno(), 2)
                os.environ.update(variables)
                changes = _count_changes(work, last)
                status = _status(case, argv)
                os.write(writing, str(changes[0]).encode())
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        os.close(writing)
        self._reading = reading

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within so many seconds."""
        end = time.monotonic() + seconds
        while self.status is None:
            done, status = os.waitpid(self._pid, os.WNOHANG)
            if done:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= end:
                return False
            else:
                time.sleep(0.002)
        return True

    def kill(self) -> None:
        """Kills it, unless it has ended."""
        if self.status is None:
            os.kill(self._pid, signal.SIGKILL)
            self.wait(LIMIT)

    def changes(self) -> int:
        """After it has ended: the changes of `work` that it made, 0 if it was killed. Ends its workers."""
        try:
            os.killpg(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        with open(self._reading, "rb") as pipe:
            return int(pipe.read() or b"0")


def run(case: Case, work: Path, output: Path, *, resume: bool = False, moment: Moment | None = None) -> Ended:
    """Runs a command in a forked process, or in several. Prints to `output`. Raises TimeoutError."""
    argv = [*case.argv, *(case.resumed if resume else ())]
    processes = [
        _Forked(case, argv, each, work, output, moment.change if moment and moment.process == number else None)
        for number, each in enumerate(case.processes())
    ]
    if moment:
        chosen = processes[moment.process]
        if not chosen.wait(LIMIT if moment.seconds is None else moment.seconds):
            chosen.kill()
    end = time.monotonic() + (NOTICING if moment and chosen.status == -signal.SIGKILL else LIMIT)
    late = [number for number, each in enumerate(processes) if not each.wait(end - time.monotonic())]
    for each in processes:
        each.kill()
    changes = [each.changes() for each in processes]
    if late and not (moment and chosen.status == -signal.SIGKILL):
        raise TimeoutError(f"{case.argv}: ran for more than {LIMIT} s")
    return Ended(next((each.status for each in processes if each.status), 0), changes[0], late)


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
