"""Bad input of the user, told in one line."""

from __future__ import annotations

import difflib
import functools
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class InputError(Exception):
    """What is wrong, where, and what to do about it, in one line."""


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """What of `known` the user may have meant by `word`, whatever the case; None where nothing is `cutoff` alike."""
    folded = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(word.casefold(), folded, 1, cutoff)
    return folded[close[0]] if close else None


def read_text(path: str | os.PathLike, advice: str, problem: str = "cannot be read") -> str:
    """A text file in UTF-8, without its byte order mark. InputError: not there, or not text; `advice`, what to do."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise InputError(f"{path}: {problem} ({why}); {advice}") from error


def command(main: Callable[..., None]) -> Callable[..., None]:
    """Wraps an entry script's `main(argv=None, ...)`: an `InputError` becomes one line on stderr and exit status 2."""

    @functools.wraps(main)
    def wrapped(argv: list[str] | None = None, *args: Any, **options: Any) -> None:
        try:
            main(argv, *args, **options)
        except InputError as error:
            sys.stderr.write(f"error: {error}\n")
            sys.exit(2)

    return wrapped
