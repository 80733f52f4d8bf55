"""Opens annotation files as downloaded: plain XML, or the ZIP archive that CVAT exports."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lib.errors import InputError, check_regular
from lib.reading import check_unpacked, foreign

MEMBER = "annotations.xml"  # CVAT's name for every export


@contextmanager
def opened_xml(path: Path, what: str) -> Iterator[IO[bytes]]:
    """Opens the XML file at `path`, or annotations.xml in the archive at `path`, for reading bytes.

    what: what the file should be, for messages. Raises InputError if the file is missing, the archive is broken, or it
    does not contain exactly one annotations.xml.
    """
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file; give {what}")
    with foreign(path, "broken archive, or cannot be read", f"give {what}"):
        check_regular(path)
        if not zipfile.is_zipfile(path):
            with open(path, "rb") as file:
                yield file
            return
        with zipfile.ZipFile(path) as archive:
            check_unpacked(archive, path, f"give {what}")
            inside = [name for name in archive.namelist() if name.rpartition("/")[2] == MEMBER]
            if len(inside) != 1:
                raise InputError(f"{path}: contains {len(inside)} files named {MEMBER}; give {what}")
            try:
                member = archive.open(inside[0])
            except RuntimeError as error:  # encrypted, or an unsupported compression method
                raise InputError(f"{path}: cannot be unpacked ({error}); unpack it and give {MEMBER}") from error
            with member:
                yield member


def named_by_cvat(path: Path) -> bool:
    """Whether the file has a name that CVAT chose rather than the user."""
    return path.suffix.lower() == ".zip" or path.name == MEMBER
