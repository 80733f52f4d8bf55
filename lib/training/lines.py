"""Files of JSON lines that training appends to: losses and validations."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from lib.errors import InputError
from lib.files import replacing

log = logging.getLogger(__name__)


class Lines:
    """A file of JSON lines. valid: whether a line is whole; it may raise what a line of another form makes it raise."""

    def __init__(self, path: Path, valid: Callable[[dict], bool]) -> None:
        self._path, self._valid = path, valid

    def read(self) -> list[dict]:
        """The lines, without damaged ones; none if there is no file."""
        if not self._path.is_file():
            return []
        lines = self._path.read_bytes().splitlines()
        good = [line for line in map(self._parsed, lines) if line is not None]
        if len(good) < len(lines):  # one was cut off when the process died, or the file was damaged
            log.warning("%s: skipping %d damaged lines", self._path, len(lines) - len(good))
        return good

    def cut(self, keep: Callable[[dict], bool]) -> list[dict]:
        """Drops the other lines, and returns those that are left. Raises InputError if it is a pipe or a folder."""
        if self._path.exists() and not self._path.is_file():
            raise InputError(f"{self._path}: is not a file; remove it")
        kept = list(filter(keep, self.read()))
        if self._path.is_file():
            with replacing(self._path) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        return kept

    def add(self, line: Mapping) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _parsed(self, line: bytes) -> dict | None:
        try:
            found = json.loads(line)
            return found if self._valid(found) else None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            return None


def is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**31
