"""Reads and validates single values of annotation files. Errors name their location."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lib import reading
from lib.dataset.importing.clips import Edges
from lib.errors import InputError, quoted, read_text
from lib.reading import LARGEST_COORDINATE

LARGEST_WHOLE = 2.0**53  # up to here, a float holds every whole number


def read_json(path: Path, what: str) -> dict:
    """Reads a JSON object from a file. Raises InputError, with the line, if it is broken."""
    content = reading.read_json(path, f"give {what}")
    if not isinstance(content, dict):
        raise InputError(f"{path}: contains a {type(content).__name__} instead of an object; give {what}")
    return content


def read_names(path: Path) -> list[str]:
    """Reads class names: one per line, or `names` of a YAML file (a list, or a mapping from 0, 1, ... to names).

    Raises InputError if there is none.
    """
    text = read_text(path, "give a file of class names, one per line, or a YAML file with `names`")
    if path.suffix.lower() not in (".yaml", ".yml"):
        names: object = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        content = reading.parse_yaml(text, path)
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, dict):
            names = [names[key] for key in range(len(names))] if set(names) == set(range(len(names))) else None
    if not isinstance(names, list) or not names:
        raise InputError(f"{path}: contains no class names; write one per line, or `names` in YAML")
    if not all(isinstance(name, (str, int)) and not isinstance(name, bool) for name in names):
        raise InputError(f"{path}: class names must be text; correct it")
    return [str(name) for name in names]


def number(value: Any, where: str, what: str, limit: float = LARGEST_COORDINATE) -> float:
    """A number of at most `limit`, given as a number or as text. Raises InputError for anything else."""
    try:
        if isinstance(value, bool):
            raise TypeError
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not abs(result) <= limit:
        raise InputError(f"{where}: {what} is {quoted(value)}; write a number of at most {limit:.0f}")
    return result


def whole(value: Any, where: str, what: str, least: int = 0) -> int:
    """An integer >= `least`, given as a number or as text; 4.0 is 4. Raises InputError for anything else."""
    result = number(value, where, what, LARGEST_WHOLE)
    if result != int(result) or result < least:
        raise InputError(f"{where}: {what} is {quoted(value)}; write an integer >= {least}")
    return int(result)


def flag(value: Any, where: str, what: str) -> bool:
    """False or true, given as 0 or 1 or a JSON boolean; None is false. Raises InputError for anything else."""
    if isinstance(value, (list, dict)):
        raise InputError(f"{where}: {what} is {quoted(value)}; write 0 or 1")
    if value in (None, False, 0, "0"):
        return False
    if value in (True, 1, "1"):
        return True
    raise InputError(f"{where}: {what} is {quoted(value)}; write 0 or 1")


def edges(left: float, top: float, width: float, height: float, where: str) -> Edges:
    """Edges of a box given by corner and size in continuous pixels. Raises InputError for a negative size."""
    if width < 0 or height < 0:
        raise InputError(f"{where}: box of {width:g} x {height:g}; width and height must not be negative")
    return left, top, left + width, top + height
