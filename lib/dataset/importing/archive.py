"""Annotation files as they are downloaded: plain, or in the ZIP archive that CVAT packs every export into."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lib.errors import InputError

MEMBER = "annotations.xml"  # CVAT calls every export so


@contextmanager
def opened_xml(path: Path, what: str) -> Iterator[BinaryIO]:
    """The XML file at `path`, or annotations.xml of the archive there, open for reading bytes.

    InputError: not there, a broken archive, none or several of that name in it; `what` it should be.
    """
    try:
        if not zipfile.is_zipfile(path):
            with open(path, "rb") as file:
                yield file
            return
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if name.rpartition("/")[2] == MEMBER]
            if len(inside) != 1:
                raise InputError(f"{path}: {len(inside)} files {MEMBER} in it; give {what}")
            try:
                file = archive.open(inside[0])
            except RuntimeError as error:  # encrypted, or packed in a way that Python does not know
                raise InputError(f"{path}: cannot be unpacked ({error}); unpack it and give {MEMBER}") from error
            with file:
                yield file
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give {what}") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: broken archive ({error}); export it anew") from error


def named_by_cvat(path: Path) -> bool:
    """Whether the file's name is CVAT's own, and not one that its user gave the video."""
    return path.suffix.lower() == ".zip" or path.name == MEMBER
