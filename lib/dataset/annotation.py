"""Annotation files of ImageNet VID and DET: PASCAL VOC XML with `trackid`, `occluded` and `generated`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from lib import reading
from lib.errors import InputError, quoted
from lib.reading import LARGEST_COORDINATE, parse_xml

PARSER_VERSION = 1  # part of the cache key; increase it whenever a change here changes what is read from a file
CORNERS = ("xmin", "ymin", "xmax", "ymax")
NO_TRACK = -1


@dataclass(frozen=True)
class Object:
    """One `<object>`: class id, box x1 y1 x2 y2 as in the file, track id (-1: none)."""

    class_id: str
    box: tuple[float, float, float, float]
    track: int
    occluded: bool
    generated: bool


@dataclass(frozen=True)
class Annotation:
    """Content of one file: image size in pixels, objects in file order."""

    width: int
    height: int
    objects: list[Object]


def read_annotation(path: str | Path) -> Annotation:
    """Reads one file. Raises InputError, with the line if known, if it is missing, not XML, or a value is invalid."""
    data = read_bytes(path)
    root = parse_xml(data, path)
    size = root.find("size")
    width, height = (_integer(path, data, None, size, tag, "an image size", 1) for tag in ("width", "height"))
    objects = [_object(path, data, place, node) for place, node in enumerate(root.findall("object"))]
    return Annotation(width, height, objects)


def read_bytes(path: str | Path) -> bytes:
    """The content of a file. Raises InputError if it is missing or cannot be read."""
    return reading.read_bytes(path, "add the file or fix the list")


def box_fault(box: tuple[float, float, float, float], width: int, height: int) -> str | None:
    """Why a box is unusable: inverted, or entirely outside the image. None if it is fine; it may cross the border."""
    x1, y1, x2, y2 = box
    if x2 < x1 or y2 < y1:
        return f"inverted box {_numbers(box)}"
    if x2 < 0 or y2 < 0 or x1 > width - 1 or y1 > height - 1:
        return f"box {_numbers(box)} is outside the {width} x {height} image"
    return None


def object_line(data: bytes, place: int) -> int:
    """Line number, from 1, of the `place`-th `<object>` (from 0) of a file."""
    return tag_line(data, "object", place)


def tag_line(data: bytes, tag: str, place: int = 0) -> int:
    """Line number, from 1, of the `place`-th `<tag>` (from 0) of a file; 1 if there is none."""
    for count, found in enumerate(re.finditer(rb"<%s[\s>]" % tag.encode(), data)):
        if count == place:
            return data.count(b"\n", 0, found.start()) + 1
    return 1


def _object(path: str | Path, data: bytes, place: int, node: ElementTree.Element) -> Object:
    class_id = (node.findtext("name") or "").strip()
    corners = node.find("bndbox")
    if not class_id or corners is None:
        missing = "bndbox" if class_id else "name"
        raise InputError(f"{path}:{object_line(data, place)}: object without <{missing}>; add it")
    x1, y1, x2, y2 = (_number(path, data, place, corners, tag) for tag in CORNERS)
    if node.find("trackid") is None:
        track = NO_TRACK
    else:
        track = _integer(path, data, place, node, "trackid", "a track id", 0)
    occluded, generated = (_flag(path, data, place, node, tag) for tag in ("occluded", "generated"))
    return Object(class_id, (x1, y1, x2, y2), track, occluded, generated)


def _number(path: str | Path, data: bytes, place: int, parent: ElementTree.Element, tag: str) -> float:
    text = parent.findtext(tag)
    try:
        value = float(text or "nan")
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST_COORDINATE:
        limit = f"a number of at most {LARGEST_COORDINATE:.0f}"
        raise InputError(f"{path}:{object_line(data, place)}: <{tag}> is {quoted(text)}; write {limit}")
    return value


def _integer(
    path: str | Path,
    data: bytes,
    place: int | None,
    parent: ElementTree.Element | None,
    tag: str,
    what: str,
    least: int,
) -> int:
    text = None if parent is None else parent.findtext(tag)
    try:
        value = int(text or "")
    except ValueError:
        value = least - 1
    if not least <= value < 2**31:
        line = "" if place is None else f":{object_line(data, place)}"
        raise InputError(f"{path}{line}: <{tag}> is {quoted(text)}, not {what}; write an integer >= {least}")
    return value


def _flag(path: str | Path, data: bytes, place: int, node: ElementTree.Element, tag: str) -> bool:
    text = node.findtext(tag)
    if text is None or text == "0":
        return False
    if text == "1":
        return True
    return _integer(path, data, place, node, tag, "0 or 1", 0) != 0


def _numbers(box: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in box)
