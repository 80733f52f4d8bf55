"""What only a script may do to its process: handle signals, send the log to a file."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Appends what is logged meanwhile, from INFO on, to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.INFO)
    root = logging.getLogger()
    level = root.level
    if not root.handlers:  # Python shows warnings itself only as long as there is no handler at all
        root.addHandler(logging.lastResort)
    others = [(other, other.level) for other in root.handlers]
    if root.getEffectiveLevel() > logging.INFO:
        for other, own in others:  # what these show does not grow by the lower level of the root
            other.setLevel(max(own, level))
        root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        for each in (handler, logging.lastResort):
            root.removeHandler(each)
        handler.close()
        root.setLevel(level)
        for other, own in others:
            other.setLevel(own)


@contextlib.contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets instead of ending the program; the second ends it."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # only the main thread can handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, frame: object) -> None:
        stopped.set()
        for each, handler in before.items():
            signal.signal(each, handler)
        tqdm.write("stopping after this step; once more ends at once")

    for number in before:
        signal.signal(number, request)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
