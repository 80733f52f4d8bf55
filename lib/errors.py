"""Invalid user input, reported on one line."""

from __future__ import annotations

import difflib
import errno
import functools
import logging
import os
import re
import stat
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

LONGEST = 200  # characters of a value that a message quotes
_LONGEST_MESSAGE = 4000  # characters; a path alone may have 4096 bytes
# What PyTorch and MXNet say, and C++ in general.
_NO_MEMORY = re.compile(r"can't allocate memory|Failed to allocate \w+ Memory|could not create a memory|bad_alloc")


class InputError(Exception):
    """What is wrong, where, and what to do about it, on one line."""


def quoted(value: Any) -> str:
    """`repr(value)` for a message, with at most LONGEST characters."""
    if isinstance(value, str):
        value = value[: LONGEST + 1]  # the repr of a long text is longer still
    try:
        text = repr(value)
    except ValueError:  # a number of more than 4300 digits
        return f"a very long {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def counted(count: int, noun: str) -> str:
    """A number of things, such as `1 class` or `2 classes`."""
    return f"{count} {noun}" + ("" if count == 1 else "es" if noun.endswith(("s", "x")) else "s")


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The closest match for `word` in `known`, ignoring case; None if no similarity reaches `cutoff` (0 to 1)."""
    folded = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(word[:LONGEST].casefold(), folded, 1, cutoff)
    return folded[close[0]] if close else None


def check_regular(path: str | os.PathLike) -> None:
    """Raises OSError for a pipe, a device, a socket or a folder, which one could read without end, or if there is
    nothing.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a pipe, device or socket instead of a file", os.fspath(path))


def read_text(path: str | os.PathLike, advice: str, problem: str = "cannot be read") -> str:
    """The content of a UTF-8 text file, without a byte order mark.

    Raises InputError if it is not a regular file, cannot be read or is not UTF-8; the message says `problem`, the
    reason and `advice`.
    """
    try:
        check_regular(path)
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path with a NUL byte
        why = getattr(error, "strerror", None) or ("not UTF-8 text" if isinstance(error, UnicodeError) else str(error))
        raise InputError(f"{path}: {problem} ({why}); {advice}") from error


def start_logging() -> None:
    """Shows log messages from level INFO on the terminal."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


def command(main: Callable[..., None]) -> Callable[..., None]:
    """Wraps an entry script's `main(argv=None, ...)`: invalid input ends it with one line on stderr and exit status 2.

    So do errors of the system that no code can foresee: a full disk, a path that is too long, too little memory. Ctrl-C
    ends it with status 130, and a reader that closed the pipe of its output, such as `head`, with status 1. Other
    exceptions are errors of the program and keep their traceback.
    """

    @functools.wraps(main)
    def wrapped(argv: list[str] | None = None, *args: Any, **options: Any) -> None:
        warnings.filterwarnings("ignore", module="PIL")  # of sizes and metadata, which are checked where they matter
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # names of files need not be valid text
                stream.reconfigure(errors="backslashreplace")
        try:
            main(argv, *args, **options)
        except KeyboardInterrupt:
            sys.stderr.write("stopped by Ctrl-C\n")
            sys.exit(130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that flushing at exit does not fail again
            sys.exit(1)
        except (InputError, OSError, MemoryError, RecursionError, ValueError, RuntimeError) as error:
            text = reported(error)
            if text is None:
                raise
            sys.stderr.write(f"error: {text}\n")
            sys.exit(2)

    return wrapped


def reported(error: BaseException) -> str | None:
    """An error as one line for the user; None for an error of the program."""
    if isinstance(error, InputError):
        text = str(error)
    elif isinstance(error, OSError):
        names = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        text = f"{names or 'input or output'}: {error.strerror or error}; check the path, its permissions and the disk"
    elif isinstance(error, MemoryError):
        text = f"not enough memory ({error or 'the system refused more'}); use smaller or fewer inputs"
    elif isinstance(error, RecursionError):
        text = "an input is nested too deeply; simplify it"
    elif isinstance(error, UnicodeError):
        place = getattr(error, "start", 0)
        shown = quoted(getattr(error, "object", "")[max(place - 40, 0) : place + 40])
        text = f"{shown}: cannot be written or read as text ({getattr(error, 'reason', error)}); rename it"
    elif _NO_MEMORY.search(str(error)):
        reason = str(error).strip().splitlines()[-1]  # MXNet's message begins with a traceback
        text = f"not enough memory ({reason[:LONGEST]}); use smaller or fewer inputs"
    elif "embedded null" in str(error):
        text = "a path contains a NUL byte; correct it"
    elif "Symlink loop" in str(error):
        text = f"{error}; remove the link"
    elif "home directory" in str(error):
        text = "a path starts with ~ and the name of a user who does not exist; give the full path"
    else:
        return None
    line = " ".join(text.splitlines())
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in _shortened(line))


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_MESSAGE:
        return text
    return f"{text[: _LONGEST_MESSAGE - 500]} ... {text[-495:]}"
