"""Bad input of the user, told in one line."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable


class InputError(Exception):
    """What is wrong, where, and what to do about it, in one line."""


def command(main: Callable[..., None]) -> Callable[..., None]:
    """Wraps an entry script's `main`: an `InputError` becomes one line on stderr and exit status 2."""

    @functools.wraps(main)
    def wrapped(argv: list[str] | None = None) -> None:
        try:
            main(argv)
        except InputError as error:
            sys.stderr.write(f"error: {error}\n")
            sys.exit(2)

    return wrapped
