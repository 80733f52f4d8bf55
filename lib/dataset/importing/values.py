"""Values of annotation files, checked one by one; what is wrong is told with its place."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from lib.dataset.importing.clips import Edges
from lib.errors import InputError, read_text


def read_json(path: Path, what: str) -> dict:
    """A JSON file that holds an object. InputError with the line where it is broken."""
    try:
        content = json.loads(read_text(path, f"give {what}"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: broken JSON ({error.msg}); give {what}") from error
    except RecursionError as error:
        raise InputError(f"{path}: JSON nested too deeply; give {what}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not an object of lists; give {what}")
    return content


def number(value: Any, where: str, what: str) -> float:
    """A finite number, given as a number or as text."""
    try:
        if isinstance(value, bool):
            raise TypeError
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result):
        raise InputError(f"{where}: {what} is {value!r}; write a number")
    return result


def whole(value: Any, where: str, what: str, least: int = 0) -> int:
    """A whole number from `least` on, given as a number or as text (4 and 4.0 are the same)."""
    result = number(value, where, what)
    if result != int(result) or result < least:
        raise InputError(f"{where}: {what} is {value!r}; write a whole number from {least} on")
    return int(result)


def flag(value: Any, where: str, what: str) -> bool:
    """0 or 1, or JSON's false and true; nothing is false."""
    if value in (None, False, 0, "0"):
        return False
    if value in (True, 1, "1"):
        return True
    raise InputError(f"{where}: {what} is {value!r}; write 0 or 1")


def edges(left: float, top: float, width: float, height: float, where: str) -> Edges:
    """Edges of a box given by corner and size, continuous pixels. InputError: a negative size."""
    if width < 0 or height < 0:
        raise InputError(f"{where}: box of {width:g} x {height:g}; a width or height may not be negative")
    return left, top, left + width, top + height
