"""One case of the fuzzer: a command with damaged inputs in a child process with limits, and a verdict on its end."""

from __future__ import annotations

import csv
import faulthandler
import json
import logging
import math
import os
import random
import resource
import select
import shlex
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from lib.dataset import image
from lib.dataset.annotation import read_annotation
from lib.dataset.jpeg import jpeg_size
from lib.nets import params
from tests.fuzz.mutate import AMOUNTS, NUMBERS, WORDS, mutate
from tests.fuzz.targets import Target
from tests.tiny import ROOT

SECONDS, MEMORY = 40, 2 * 2**30  # of a case: processor time (see `_patience` for the wall time); resident bytes
_ADDRESSES = 4 * 2**30  # above what the process has mapped at its start
HOSTILE_PATHS = ("", "missing", "in", "/dev/zero", "~nobody/x", "x" * 300, "in/pipe", "/proc/self/mem", "in\udcff")
UNWRITABLE = ("/dev/null/x.json", "/proc/x.json", "x" * 300, "in/pipe/x")


@dataclass(frozen=True)
class Verdict:
    """kind: of the table's columns; detail: a line about it."""

    kind: str
    detail: str


def prepare(target: Target, corpus: Path, case: Path, rng: random.Random) -> tuple[list[str], list[str]]:
    """Copies the inputs of a case, damages them, and returns (its command line, what was done)."""
    for need in target.needs:
        shutil.copytree(corpus / need, case / "in" / need, symlinks=True)
    (case / "model").symlink_to(ROOT / "model")  # some commands read the repository's own files there
    argv = shlex.split(target.argv)
    for more in rng.sample(target.more, min(len(target.more), rng.choice((0, 0, 1, 3)))):
        argv += shlex.split(more)
    done = []
    files = sorted(path for pattern in target.damage for path in case.glob(pattern))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not files or rng.random() < 0.2:
            done.append(_change_option(argv, rng, target.amounts))
        else:
            path = rng.choice(files)
            done.append(
                f"{mutate(path, rng)} in {os.fsencode(path.relative_to(case))!r}" if os.path.lexists(path) else ""
            )
    return argv, [text for text in done if text]


def _change_option(argv: list[str], rng: random.Random, amounts: tuple[str, ...]) -> str:
    """Replaces the value of an option, for `amounts` with one that is refused or harmless."""
    places = [place for place in range(1, len(argv)) if argv[place - 1].startswith("--") and argv[place][:2] != "--"]
    if not places:
        return ""
    place = rng.choice(places)
    option, value = argv[place - 1], argv[place]
    if option == "--set":
        key, _, _ = value.partition("=")
        new = f"{key}={rng.choice(NUMBERS + WORDS)}"
    elif value.startswith(("out", "in/earlier")) or value in UNWRITABLE:
        new = rng.choice(UNWRITABLE)
    elif "/" in value:
        new = rng.choice(HOSTILE_PATHS)
    else:
        new = rng.choice([each for each in NUMBERS + WORDS if option not in amounts or each not in AMOUNTS])
    argv[place] = new.replace("\0", "0")  # the system passes no NUL
    return f"{option} {argv[place][:60]!r}"


def run(target: Target, corpus: Path, case: Path, seed: str) -> tuple[Verdict, list[str]]:
    """Runs a case in a forked child in the folder `case`, which is removed first."""
    shutil.rmtree(case, ignore_errors=True)
    (case / "in").mkdir(parents=True)
    os.mkfifo(case / "in" / "pipe")
    argv, done = prepare(target, corpus, case, random.Random(seed))
    before = _listing(case)
    reading, writing = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(target, argv, case, writing)
    os.close(writing)
    deadline = started + _patience()
    output = _output(reading, deadline, child)
    status, usage = _wait(child, deadline + 1)
    text = output.decode(errors="replace")
    verdict = _verdict(target, case, status, usage, text, time.monotonic() - started)
    if verdict.kind in ("clear error", "success"):
        outside = _outside(target, before, _listing(case))
        if outside:
            verdict = Verdict("outside", f"wrote {outside}")
    return verdict, [f"argv: {argv!r}", *done]


def _patience() -> float:
    """Seconds of wall time after which a case hangs: three times its processor time, more on a busy machine."""
    return 3 * SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _child(target: Target, argv: list[str], case: Path, writing: int) -> None:
    status = 1
    try:
        os.setsid()
        for number in (1, 2):
            os.dup2(writing, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, errors="backslashreplace", buffering=1)
        sys.argv = [target.file, *argv]
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + _ADDRESSES,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 2))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**30,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.enable(sys.stderr)
        logging.getLogger().handlers.clear()
        os.chdir(case)
        target.main()(argv)
        status = 0
    except SystemExit as stopped:
        status = stopped.code if isinstance(stopped.code, int) else 1 if stopped.code else 0
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _output(reading: int, deadline: float, child: int) -> bytes:
    """The last megabyte of what the child writes; the child is stopped at the deadline."""
    output = b""
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            os.killpg(child, signal.SIGKILL)
            break
        block = os.read(reading, 1 << 16)
        if not block:
            break
        output = (output + block)[-(1 << 20) :]
    os.close(reading)
    return output


def _wait(child: int, deadline: float) -> tuple[int, resource.struct_rusage]:
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return status, usage
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            deadline = math.inf
        time.sleep(0.005)


def _verdict(
    target: Target, case: Path, status: int, usage: resource.struct_rusage, text: str, seconds: float
) -> Verdict:
    lines = text.strip().splitlines()
    last = lines[-1][:300] if lines else ""
    if usage.ru_maxrss * 1024 > MEMORY or "not enough memory" in last:
        return Verdict("memory", f"{usage.ru_maxrss >> 10} MiB: {last}")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in (signal.SIGKILL, signal.SIGXCPU):
            return Verdict("hang", f"{seconds:.0f} s: {last}")
        return Verdict("crash", f"{signal.Signals(number).name}: {_frame(text)}")
    if "Traceback (most recent call last)" in text:
        return Verdict("traceback", f"{last} {_frame(text)}")
    code = os.WEXITSTATUS(status)
    if code == 2:
        errors = [line for line in lines if line.startswith("error: ") or ": error: " in line]
        good = len(errors) == 1 and errors[0] == lines[-1] and len(last) < 5000
        return Verdict("clear error" if good else "several lines", last)
    if code not in (0, 1):
        return Verdict("traceback", f"exit status {code}: {last}")
    return _judged(target, case, code) or Verdict("success", last)


def _judged(target: Target, case: Path, code: int) -> Verdict | None:
    """What is wrong with the outputs. They are read in a child process, since they may crash their reader."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            continued = [path for pattern in target.resumed for path in case.glob(pattern)] if code == 0 else []
            wrong = faults(case / "out", *continued) or (target.check(case) if code == 0 else "")
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        os.write(writing, wrong[:300].encode(errors="backslashreplace"))
        os._exit(0)
    os.close(writing)
    wrong = _output(reading, time.monotonic() + _patience(), child).decode()
    status, _ = _wait(child, math.inf)
    if os.WIFSIGNALED(status):
        return Verdict("crash", f"{signal.Signals(os.WTERMSIG(status)).name} in reading the outputs")
    return Verdict("wrong success", wrong) if wrong else None


def _frame(text: str) -> str:
    """The last line of this repository's code in a traceback."""
    places = [
        line.strip() for line in text.splitlines() if line.strip().startswith("File ") and "site-packages" not in line
    ]
    return places[-1][-150:] if places else ""


def _listing(case: Path) -> dict[str, tuple]:
    """Type, size and time of every file that the case should not write, by name; those beside its folder too."""
    found: dict[str, tuple] = {name: () for name in os.listdir(case.parent)}
    for folder, folders, files in os.walk(case):
        if Path(folder) == case:
            folders[:] = [name for name in folders if name not in ("out", "output")]
        for name in (*folders, *files):
            status = os.lstat(os.path.join(folder, name))
            found[os.path.join(folder, name)] = (
                status.st_mode, *((status.st_size, status.st_mtime_ns) if name in files else ())
            )  # fmt: skip
    return found


def _outside(target: Target, before: dict[str, tuple], after: dict[str, tuple]) -> str:
    changed = sorted(set(before.items()) ^ set(after.items()))
    allowed = ("/out", *target.writes)
    names = {name for name, _ in changed if not any(Path(name).match(pattern) for pattern in allowed)}
    return ", ".join(sorted(names))[:300].encode(errors="backslashreplace").decode()


def faults(*outputs: Path) -> str:
    """What is wrong with output files and those in output folders: they must parse, and their numbers be finite."""

    def refuse(name: str) -> float:
        raise ValueError(f"{name} in JSON")

    for path in (path for output in outputs for path in (sorted(output.rglob("*")) if output.is_dir() else [output])):
        if not os.path.lexists(path):
            continue
        if not path.is_file():
            if not path.is_dir():
                return f"{path}: no file"
        elif path.suffix == ".json":
            json.loads(path.read_text(), parse_constant=refuse)
        elif path.suffix == ".jsonl":
            for line in path.read_text(errors="surrogateescape").split("\n")[:-1]:
                json.loads(line, parse_constant=refuse)
        elif path.suffix == ".csv":
            with open(path, newline="", errors="surrogateescape") as file:
                rows = list(csv.reader(file))
            if any(len(row) != len(rows[0]) or {"nan", "inf", "-inf"} & set(row) for row in rows):
                return f"{path}: a row is not whole and finite"
        elif path.suffix == ".xml":
            if ElementTree.parse(path).getroot().tag == "annotation":
                read_annotation(path)
        elif path.suffix == ".params":
            params.load(path)
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                for name in arrays.files:
                    if arrays[name].dtype.kind == "f" and not np.isfinite(arrays[name]).all():
                        return f"{path}: {name} is not finite"
        elif path.suffix == ".JPEG":
            jpeg_size(path)  # importers copy JPEG files without decoding them
        elif path.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp", ".webp"):
            image.read(path)
        elif path.name.startswith(".") and path.name != ".":
            return f"{path}: a temporary file"
    return ""
