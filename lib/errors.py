"""Invalid user input, reported on one line."""

from __future__ import annotations

import difflib
import functools
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class InputError(Exception):
    """What is wrong, where, and what to do about it, on one line."""


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The closest match for `word` in `known`, ignoring case; None if no similarity reaches `cutoff` (0 to 1)."""
    folded = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(word.casefold(), folded, 1, cutoff)
    return folded[close[0]] if close else None


def read_text(path: str | os.PathLike, advice: str, problem: str = "cannot be read") -> str:
    """The content of a UTF-8 text file, without a byte order mark.

    Raises InputError if it cannot be read or is not UTF-8; the message says `problem`, the reason and `advice`.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{path}: {problem} ({why}); {advice}") from error


def command(main: Callable[..., None]) -> Callable[..., None]:
    """Wraps an entry script's `main(argv=None, ...)` to turn `InputError` into one line on stderr and exit status 2."""

    @functools.wraps(main)
    def wrapped(argv: list[str] | None = None, *args: Any, **options: Any) -> None:
        try:
            main(argv, *args, **options)
        except InputError as error:
            sys.stderr.write(f"error: {error}\n")
            sys.exit(2)

    return wrapped
