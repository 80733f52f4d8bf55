"""Timing in turns: each contestant has a process of its own, so that no engine shares its threads with another."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from lib.errors import InputError


class Contestant:
    """A process that runs `python -m MODULE ARGUMENTS` and answers each line with the seconds of one run."""

    def __init__(self, module: str, *arguments: str, threads: int):
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def turn(self) -> float:
        """Seconds of one run."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self.line())

    def result(self) -> dict:
        """What the process reports when its turns are over."""
        self._process.stdin.close()
        result = json.loads(self.line())
        self._process.wait()
        return result

    def stop(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        self._process.wait()

    def line(self) -> str:
        """The next line of its output."""
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._process.args)} ended with status {self._process.wait()}")
        return line.strip()


def serve(run: Callable[[], object]) -> list[float]:
    """The other side: runs once for each line of the input, and writes the seconds."""
    taken = []
    for _ in sys.stdin:
        taken.append(seconds(run))
        say(repr(taken[-1]))
    return taken


def in_turns(contestants: dict[str, Contestant], runs: int) -> dict[str, list[float]]:
    """Seconds of each run, by name of the contestant."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(runs):
        for name, contestant in contestants.items():
            taken[name].append(contestant.turn())
    return taken


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def memory(which: str) -> int:
    """Bytes: VmRSS now, VmHWM at most. (getrusage would count the memory of the parent process.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) * 1024


def head(*columns: str) -> None:
    say(f"| {' | '.join(columns)} |\n|---{'|---:' * (len(columns) - 1)}|")


def row(*cells: str) -> None:
    say(f"| {' | '.join(cells)} |")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def installed(names: Iterable[str], package: Callable[[str], str]) -> list[str]:
    """Those whose package is installed; the others are reported."""
    from importlib.util import find_spec

    found = [name for name in names if find_spec(package(name))]
    for name in names:
        if name not in found:
            say(f"{name}: left out ({package(name)} is not installed)")
    return found


def device_options(parser: argparse.ArgumentParser) -> None:
    """Adds --backend and --device, which measure one backend on one device."""
    parser.add_argument("--backend", choices=["torch"], help="with --device: what to measure")
    parser.add_argument("--device", choices=["cuda", "cpu"], help="measure PyTorch on this device")


def device_of(args: argparse.Namespace) -> str | None:
    """The --device of `device_options`. Raises InputError if --backend stands without it."""
    if args.backend and not args.device:
        raise InputError("--backend: it goes with --device; add --device cuda or --device cpu, or leave --backend out")
    return args.device
