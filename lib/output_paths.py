"""Where output may go: checks of the paths that users give for it, and streams such as pipes and /dev/stdout."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from lib.errors import InputError


def check_folder(folder: Path) -> None:
    """Raises InputError if `folder` cannot be created or written to. Creates nothing."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise InputError(f"{folder}: {existing} is a file; choose another output folder")
    if not os.access(existing, os.W_OK):
        raise InputError(f"{folder}: no permission to write to {existing}; choose another output folder")


def check_output(path: str | os.PathLike, *, folder: bool = False, pipes: bool = True) -> Path:
    """`path`, if it is a file or a stream, or does not exist; `folder`: or a folder; not `pipes`: and no named pipe.

    Raises InputError otherwise.
    """
    path = Path(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return path
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another output") from error
    if stat.S_ISDIR(mode) and not folder:
        raise InputError(f"{path}: is a folder; give the name of a file")
    if not pipes and is_pipe(path):
        raise InputError(f"{path}: is a pipe instead of a file; remove it")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or is_stream(path)):
        raise InputError(f"{path}: is a device or socket, which is not written to; choose another output")
    return path


def check_distinct(inputs: Iterable[str | os.PathLike | None], outputs: Iterable[str | os.PathLike | None]) -> None:
    """Raises InputError if an output is an input or inside an input folder, or if two outputs are the same file.

    Options that were not given, None, are skipped, and so are streams among the outputs.
    """
    read = {Path(os.path.realpath(path)) for path in inputs if path is not None}
    seen: set[Path] = set()
    for path in outputs:
        if path is None or is_stream(path):
            continue
        real = Path(os.path.realpath(path))
        if not read.isdisjoint((real, *real.parents)):
            raise InputError(f"{path}: is an input, or inside one, and would be overwritten; choose another output")
        if real in seen:
            raise InputError(f"{path}: is given for two outputs; give each its own file")
        seen.add(real)


def is_stream(path: str | os.PathLike) -> bool:
    """Whether `path` is a pipe, /dev/null or an open descriptor such as /dev/stdout, which are written in sequence."""
    if _descriptor(Path(path)) is not None or is_pipe(path):
        return True
    try:
        return os.path.samefile(path, os.devnull)
    except OSError:
        return False


def is_pipe(path: str | os.PathLike) -> bool:
    """Whether `path` is a named pipe."""
    return Path(path).is_fifo() and _descriptor(Path(path)) is None


def open_stream(path: Path) -> BinaryIO:
    """Opens a stream (see `is_stream`) for writing. A pipe waits for its reader."""
    descriptor = _descriptor(path)
    if descriptor is None:
        return open(path, "wb")
    for text in (sys.stdout, sys.stderr):  # what was printed before comes first
        text.flush()
    return open(os.dup(descriptor), "wb")


def followed(path: Path) -> Path:
    """What a symbolic link points to, through all links; any other path, and one to an open descriptor, as it is."""
    return path if not path.is_symlink() or _descriptor(path) is not None else Path(os.path.realpath(path))


def _descriptor(path: Path) -> int | None:
    """The descriptor of this process that a path such as /dev/stdout, /dev/fd/3 or a link to them stands for."""
    for _ in range(40):  # as many links as the system follows
        folder = os.path.realpath(path.parent)
        if folder == f"/proc/{os.getpid()}/fd" and path.name.isdigit():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(folder, os.readlink(path))
    return None
