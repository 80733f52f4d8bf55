"""Runs commands on a disk that fills up, then again with space, and compares what they wrote with an undisturbed run.

    unshare --user --map-root-user --mount python -m tests.reliability.disks [--trials 20] [--seed 0]

The disk is a tmpfs of a random size below what the command needs, so mounting must be allowed; `unshare` sees to that
on most systems. Prints survived/tried by command.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np

from tests.reliability.compare import broken, differences
from tests.reliability.kills import MEMORY, TOLERANCE, Kills, Reference, start
from tests.reliability.processes import Moment, run

PAGE = 4096


class Disks(Kills):
    """Runs the commands on a full disk instead of killing them. The moment's change is the size of the disk, pages."""

    what = "on a full disk"

    def moments(self, name: str, reference: Reference, count: int, rng: np.random.Generator) -> list[Moment]:
        pages = sum(-(-path.stat().st_size // PAGE) + 1 for path in reference.folder.rglob("*"))
        return [Moment(change=int(rng.integers(2, max(pages, 3)))) for _ in range(count)]

    def place(self, moment: Moment) -> str:
        return f"of {moment.change * PAGE // 1024} KiB"

    def trial(self, name: str, reference: Reference, moment: Moment) -> list[str]:
        case = self.cases[name]
        self._fresh()
        mount("-t", "tmpfs", "-o", f"size={moment.change * PAGE}", "tmpfs", str(self.work))
        try:
            status = run(case, self.work, self.output).status
            output = self.output.read_text()
            faults = broken(self.work)
            if status < 0 or "Traceback" in output or (status and "error: " not in output):
                faults.append(f"status {status}, not one line")
            mount("-o", "remount,size=100m", str(self.work))
            if case.complete is None or not case.complete.exists():
                status = run(case, self.work, self.output, resume=True).status
                if status:
                    faults.append(f"status {status} when run again")
            return [*faults, *differences(self.work, reference.folder, tolerance=TOLERANCE[case.backend])]
        finally:
            subprocess.run(["umount", str(self.work)], check=True)
            shutil.rmtree(self.work)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def unavailable() -> str:
    """Why this process may not start one that mounts; empty if it may."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        subprocess.run(
            [*unshare, "mount", "-t", "tmpfs", "tmpfs", "/tmp"], check=True, capture_output=True, text=True, timeout=30
        )
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    except subprocess.CalledProcessError as error:
        return error.stderr.strip() or "mounting is not allowed"
    return ""


if __name__ == "__main__":
    sys.exit(start(Disks, __doc__, trials=20, folder=MEMORY))
