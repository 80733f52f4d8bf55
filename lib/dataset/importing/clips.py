"""The videos and objects that every importer reads, and their conversion to objects of the ImageNet VID layout.

Boxes are read as edges in continuous pixels: pixel k covers k to k + 1, so the whole image is 0, 0, width, height.
COCO's x, y, w, h is x, y, x + w, y + h. ImageNet VID uses inclusive pixels instead: x1 = left, x2 = right - 1.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lib.bbox.overlaps import overlaps
from lib.dataset.annotation import Object
from lib.dataset.classes import ClassList, default_colour
from lib.dataset.importing.frames import ImageFiles, VideoFile
from lib.errors import LONGEST, InputError, quoted

Edges = tuple[float, float, float, float]  # left, top, right, bottom
LINK_IOU = 0.3  # least overlap from one frame to the next that makes objects without a track id one track
LARGEST_TRACK = 2**31 - 1
DIGITS = 3  # decimals of coordinates in files

EMPTY = "objects outside the image, or less than one pixel wide or high"
OTHER = "objects of classes that are not in the class list"


@dataclass(frozen=True)
class SourceObject:
    """One object in one frame, as in the source.

    track: number or text that identifies it within its video, or None; where: its place in the source, for messages.
    """

    name: str
    edges: Edges
    track: int | str | None
    where: str
    occluded: bool = False
    generated: bool = False


@dataclass
class Video:
    """One video: its name, its frames, and its objects by frame number (from 0, as imported)."""

    name: str
    frames: ImageFiles | VideoFile
    objects: dict[int, list[SourceObject]] = field(default_factory=dict)

    def add(self, frame: int, thing: SourceObject) -> None:
        """Adds an object to frame `frame`."""
        self.objects.setdefault(frame, []).append(thing)


@dataclass
class Found:
    """What an importer read.

    names: class names in order; val: names of the videos that the source itself holds out for testing, None if it does
    not say; dropped: number of objects that were left out, by reason.
    """

    videos: list[Video]
    names: list[str]
    val: set[str] | None = None
    dropped: Counter = field(default_factory=Counter)


def plain_name(text: str) -> str:
    """A name that list files and class lists can contain: without spaces and path separators."""
    name = re.sub(r"[^\w.+-]+", "_", text.strip()).strip("_.")
    return name or "_"


def unique_names(texts: Iterable[str], what: str, where: str) -> dict[str, str]:
    """Plain name of each text. Raises InputError if two different texts have the same plain name."""
    names: dict[str, str] = {}
    for text in texts:
        name = plain_name(text)
        if names.setdefault(name, text) != text:
            raise InputError(
                f"{where}: {what} {quoted(names[name])} and {quoted(text)} would both become "
                f"{name[:LONGEST]}; rename one"
            )
    return {text: name for name, text in names.items()}


def class_list(names: Sequence[str], given: ClassList | None, where: str) -> tuple[ClassList, dict[str, str]]:
    """Classes of the dataset, and class id by name in the source.

    given: the user's list, which selects and orders the classes. Names of the source are matched with its ids and
    names, unchanged or as plain names. Raises InputError if there are no classes, two names have the same plain name,
    or the source has none of the given classes.
    """
    if given is None:
        if not names:
            raise InputError(f"{where}: contains no classes; name them with --classes")
        plain = unique_names(names, "classes", where)
        ids = list(dict.fromkeys(plain[name] for name in names))
        return ClassList(ids, ids, [default_colour(number) for number in range(1, len(ids) + 1)]), plain
    known = {word: class_id for class_id, name in zip(given.ids, given.names) for word in (name, class_id)}
    found = {name: known.get(name) or known.get(plain_name(name)) for name in names}
    if names and not any(found.values()):
        raise InputError(f"--classes: none of the classes of {where} is listed ({', '.join(names[:8])}); add them")
    return given, {name: class_id for name, class_id in found.items() if class_id is not None}


def inclusive(edges: Edges, width: int, height: int) -> tuple[float, float, float, float] | None:
    """Converts edges in continuous pixels to a box x1 y1 x2 y2 in inclusive pixels, clipped to the image.

    None if less than one pixel of width or height remains.
    """
    left, top, right, bottom = edges
    left, right = (round(min(max(edge, 0.0), float(width)), DIGITS) for edge in (left, right))
    top, bottom = (round(min(max(edge, 0.0), float(height)), DIGITS) for edge in (top, bottom))
    if right - left < 1 - 1e-6 or bottom - top < 1 - 1e-6:
        return None
    return left, top, max(round(right - 1, DIGITS), left), max(round(bottom - 1, DIGITS), top)


def edges_of(box: Sequence[float]) -> Edges:
    """The inverse of `inclusive` for a box inside the image."""
    x1, y1, x2, y2 = box
    return x1, y1, x2 + 1, y2 + 1


def decimal(value: float, digits: int = DIGITS) -> str:
    """A coordinate as files have it, without trailing zeros."""
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if value else "0"  # not -0


def resolved(
    video: Video, sizes: Mapping[int, tuple[int, int]], class_ids: Mapping[str, str], dropped: Counter
) -> dict[int, list[Object]]:
    """Objects of the dataset by frame: with class ids, clipped boxes and a track number each.

    sizes: (width, height) by frame; dropped: counts the objects that are left out, by reason. Raises InputError if an
    object is in a frame that does not exist, or a track occurs twice in a frame.
    """
    kept: list[tuple[int, SourceObject, tuple]] = []
    for frame in sorted(video.objects):
        if frame not in sizes:
            thing = video.objects[frame][0]
            raise InputError(
                f"{thing.where}: object in frame {frame} (from 0) of {video.name}, which has {len(sizes)} frames; "
                "give the frames that were annotated"
            )
        seen: dict[int | str, str] = {}
        for thing in video.objects[frame]:
            if thing.name not in class_ids:
                dropped[OTHER] += 1
                continue
            box = inclusive(thing.edges, *sizes[frame])
            if box is None:
                dropped[EMPTY] += 1
                continue
            if thing.track is not None and seen.setdefault(thing.track, thing.where) != thing.where:
                raise InputError(
                    f"{thing.where}: track {thing.track} occurs twice in frame {frame} of {video.name} (first: "
                    f"{seen[thing.track]}); give each object its own track"
                )
            kept.append((frame, thing, box))
    objects: dict[int, list[Object]] = {}
    for (frame, thing, box), track in zip(kept, _tracks(kept)):
        objects.setdefault(frame, []).append(Object(class_ids[thing.name], box, track, thing.occluded, thing.generated))
    return objects


def _tracks(kept: Sequence[tuple[int, SourceObject, tuple]]) -> list[int]:
    """Track numbers of objects: those of the source if all are valid numbers, otherwise numbered from 0.

    Objects without a track are linked from frame to frame and get unused numbers.
    """
    given = list(dict.fromkeys(thing.track for _, thing, _ in kept if thing.track is not None))
    numbers: dict[int | str, int] = {
        track: track for track in given if isinstance(track, int) and 0 <= track <= LARGEST_TRACK
    }
    if len(numbers) < len(given):
        numbers = {track: number for number, track in enumerate(given)}
    used = set(numbers.values())
    free = (number for number in itertools.count() if number not in used)
    linked = _linked([(frame, thing.name, box) for frame, thing, box in kept if thing.track is None])
    new = {link: next(free) for link in dict.fromkeys(linked)}
    rest = iter(linked)
    return [new[next(rest)] if thing.track is None else numbers[thing.track] for _, thing, _ in kept]


def _linked(boxes: Sequence[tuple[int, str, tuple]]) -> list[int]:
    """A number for each (frame, class, box), in frame order; boxes linked to one object get the same number.

    Boxes of the same class in consecutive frames are linked, the pair with the largest overlap first.
    """
    links = list(range(len(boxes)))
    before: list[int] = []
    for frame, group in itertools.groupby(range(len(boxes)), key=lambda row: boxes[row][0]):
        now = list(group)
        near = [row for row in before if boxes[row][0] == frame - 1]
        iou = overlaps(*(np.reshape([boxes[row][2] for row in rows], (-1, 4)) for rows in (near, now)))
        pairs = [
            (overlap, old, new)
            for overlap, (old, new) in zip(iou.flat, itertools.product(near, now))
            if boxes[old][1] == boxes[new][1] and overlap >= LINK_IOU
        ]
        taken: set[int] = set()
        for _, old, new in sorted(pairs, key=lambda pair: -pair[0]):
            if old not in taken and new not in taken:
                taken |= {old, new}
                links[new] = links[old]
        before = now
    return links
