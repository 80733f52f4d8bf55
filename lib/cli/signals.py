"""Process-wide state that only scripts may change: signal handlers and log files."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from lib.errors import InputError


class _LateFileHandler(logging.FileHandler):
    """Holds records back until the folder of its file exists, so that a rejected run leaves nothing behind."""

    def __init__(self, path: Path):
        super().__init__(path, encoding="utf-8", delay=True)
        self._early: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._early.append(record)
        if Path(self.baseFilename).parent.is_dir():
            for each in self._early:
                super().emit(each)
            self._early.clear()


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Appends log records of level INFO and above to a file while the context is active. The folder is not created.

    Raises InputError if there is something else than a file, such as a pipe.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is not a file; remove it")
    handler = _LateFileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.INFO)
    root = logging.getLogger()
    level = root.level
    if not root.handlers and logging.lastResort:  # Python's handler of last resort works only while there is no other
        root.addHandler(logging.lastResort)
    others = [(other, other.level) for other in root.handlers]
    if root.getEffectiveLevel() > logging.INFO:
        for other, own in others:  # keep the other handlers from showing more when the root's level is lowered
            other.setLevel(max(own, level))
        root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        for each in filter(None, (handler, logging.lastResort)):
            root.removeHandler(each)
        handler.close()
        root.setLevel(level)
        for other, own in others:
            other.setLevel(own)


@contextlib.contextmanager
def stop_requested(*, say: bool = True) -> Iterator[threading.Event]:
    """Yields an event that the first Ctrl-C or SIGTERM sets instead of ending the program. A second Ctrl-C ends it.

    A second SIGTERM does not: a process of torchrun gets one from Slurm and one from torchrun. say: whether to print
    that the program is stopping.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # only the main thread can handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, before[signal.SIGINT])
        if say and not stopped.is_set():
            tqdm.write("stopping after this step; press Ctrl-C again to stop at once")
        stopped.set()

    for number in before:
        signal.signal(number, request)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
