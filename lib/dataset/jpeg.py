"""Reads the headers of JPEG files without decoding them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lib.errors import InputError, check_regular
from lib.reading import foreign

HEAD = 4096  # bytes that hold the frame header of nearly every file
START, END = b"\xff\xd8", b"\xff\xd9"
# Start-of-frame markers: SOF0..15 without DHT (C4), JPG (C8) and DAC (CC).
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SCAN = 0xDA
BARE_MARKERS = frozenset([0x01, *range(0xD0, 0xD8)])  # not followed by a length

LARGEST_SIDE, MOST_PIXELS = 2**15 - 1, 2**26  # of an image: 192 MiB once decoded
MOST_SCANS = 100  # of a JPEG file; each costs time for all its pixels, however few bytes it has
_MARKER = re.compile(rb"\xff[^\x00\xff\x01\xd0-\xd7]")  # after a 0xFF, the data of a scan has nothing else
LIMIT = f"the limit is {LARGEST_SIDE} pixels a side and {MOST_PIXELS} in all"


def check_size(width: int, height: int, where: str | os.PathLike) -> None:
    """Raises InputError for an image or video that is too large to be decoded."""
    if max(width, height) > LARGEST_SIDE or width * height > MOST_PIXELS:
        raise InputError(f"{where}: {width} x {height} is too large, {LIMIT}; shrink it")


def jpeg_size(path: str | Path) -> tuple[int, int]:
    """(width, height) in pixels as stored (EXIF orientation ignored), reading only a few kilobytes of the file.

    Raises InputError if the file is missing, empty, not a JPEG, has a broken header or is truncated.
    """
    with foreign(path, "cannot be read", "download or create it again"):
        check_regular(path)
        with open(path, "rb") as file:
            data = file.read(HEAD)
            if not data.startswith(START):
                what = "not a JPEG file" if data else "empty file"
                raise InputError(f"{path}: {what}; download or create it again")
            size, scan = frame_and_scan(data)
            if scan is None:  # a long header, for example with an embedded thumbnail
                data += file.read()
                size, scan = frame_and_scan(data)
            if size is None or scan is None or 0 in size:
                raise InputError(f"{path}: broken JPEG header; download or create it again")
            file.seek(-2, os.SEEK_END)
            if file.read() != END:  # other data may follow the image, so look for its end after the header
                file.seek(scan)
                if END not in file.read():
                    raise InputError(f"{path}: truncated JPEG file; download or create it again")
        check_size(*size, path)
    return size


def frame_and_scan(data: bytes) -> tuple[tuple[int, int] | None, int | None]:
    """((width, height), position of the first scan) of JPEG data, each None if `data` ends or breaks off before it."""
    size = None
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker in BARE_MARKERS:
            place += 2
        elif marker == SCAN:
            return size, place
        else:
            if marker in FRAME_MARKERS:
                size = (
                    int.from_bytes(data[place + 7 : place + 9], "big"),
                    int.from_bytes(data[place + 5 : place + 7], "big"),
                )
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return size, None


def check_scans(data: bytes, scan: int, where: str | os.PathLike) -> None:
    """Raises InputError if a JPEG file has more than MOST_SCANS scans. scan: position of the first."""
    count, place = 0, scan
    while (marker := _MARKER.search(data, place)) and marker[0] != END:
        count += marker[0][1] == SCAN
        if count > MOST_SCANS:
            raise InputError(f"{where}: JPEG file of more than {MOST_SCANS} scans; save it again")
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
