"""What every importer reads its annotations into, and how that becomes objects of ImageNet VID.

Boxes are read as edges in continuous pixels: pixel k covers k to k + 1, so the whole picture is 0, 0, width, height.
COCO's x, y, w, h is x, y, x + w, y + h. The layout has inclusive pixels instead: x1 = left, x2 = right - 1.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lib.dataset.annotation import Object
from lib.dataset.classes import ClassList, default_colour
from lib.dataset.importing.frames import Film, Pictures
from lib.errors import InputError

Edges = tuple  # left, top, right, bottom: four floats
LINK_IOU = 0.3  # objects without a track that overlap so much from frame to frame are taken for one
LARGEST_TRACK = 2**31 - 1
DIGITS = 3  # of coordinates in the XML

EMPTY = "outside the picture, or less than a pixel wide or high"
OTHER = "of classes that the list leaves out"


@dataclass(frozen=True)
class Thing:
    """One object in one frame as the source has it. track: any number or text that tells it from others; None: none."""

    name: str
    edges: Edges
    track: int | str | None
    where: str
    occluded: bool = False
    generated: bool = False


@dataclass
class Video:
    """One video: its name, its frames, and the things in frame k (from 0, as imported)."""

    name: str
    frames: Pictures | Film
    things: dict[int, list[Thing]] = field(default_factory=dict)

    def add(self, frame: int, thing: Thing) -> None:
        """Puts a thing into frame `frame`."""
        self.things.setdefault(frame, []).append(thing)


@dataclass
class Found:
    """What an importer read: videos, those of them that the source itself holds out (None: it does not say), the class
    names in order, and what it left out, counted by reason."""

    videos: list[Video]
    names: list[str]
    val: set[str] | None = None
    dropped: Counter = field(default_factory=Counter)


def plain_name(text: str) -> str:
    """A name as lists and class files can hold it: no spaces, no separators."""
    name = re.sub(r"[^\w.+-]+", "_", text.strip()).strip("_.")
    return name or "_"


def unique_names(texts: Iterable[str], what: str, where: str) -> dict[str, str]:
    """Plain names by the texts they are made of. InputError: two texts give the same."""
    names: dict[str, str] = {}
    for text in texts:
        name = plain_name(text)
        if names.setdefault(name, text) != text:
            raise InputError(f"{where}: {what} {names[name]!r} and {text!r} would both be {name}; rename one")
    return {text: name for name, text in names.items()}


def class_list(names: Sequence[str], given: ClassList | None, where: str) -> tuple[ClassList, dict[str, str]]:
    """(classes of the dataset, class id by the source's name).

    given: the user's list, which chooses and orders; a source's name is found there as an id or a name, as it stands or
    without spaces. InputError: no class at all, two names that would be the same, no name of the list in the source.
    """
    if given is None:
        if not names:
            raise InputError(f"{where}: no classes in it; name them by --classes")
        plain = unique_names(names, "classes", where)
        ids = list(dict.fromkeys(plain[name] for name in names))
        return ClassList(ids, ids, [default_colour(number) for number in range(1, len(ids) + 1)]), plain
    known = {word: class_id for class_id, name in zip(given.ids, given.names) for word in (name, class_id)}
    found = {name: known.get(name) or known.get(plain_name(name)) for name in names}
    if names and not any(found.values()):
        raise InputError(f"--classes: has none of the classes of {where} ({', '.join(names[:8])}); give their names")
    return given, {name: class_id for name, class_id in found.items() if class_id is not None}


def inclusive(edges: Edges, width: int, height: int) -> tuple[float, float, float, float] | None:
    """Edges in continuous pixels -> box x1 y1 x2 y2, inclusive pixels, clipped to the picture; None where less than one
    pixel is left in either direction."""
    left, top, right, bottom = edges
    left, right = (round(min(max(edge, 0.0), float(width)), DIGITS) for edge in (left, right))
    top, bottom = (round(min(max(edge, 0.0), float(height)), DIGITS) for edge in (top, bottom))
    if right - left < 1 - 1e-6 or bottom - top < 1 - 1e-6:
        return None
    return left, top, max(round(right - 1, DIGITS), left), max(round(bottom - 1, DIGITS), top)


def edges_of(box: Sequence[float]) -> Edges:
    """The inverse of `inclusive` for a box inside the picture."""
    x1, y1, x2, y2 = box
    return x1, y1, x2 + 1, y2 + 1


def resolved(
    video: Video, sizes: Mapping[int, tuple[int, int]], class_ids: Mapping[str, str], dropped: Counter
) -> dict[int, list[Object]]:
    """Objects by frame: classes named, boxes clipped, every object with a track number.

    sizes: of the frames that there are; dropped: counts what is left out. InputError: a frame that there is not, one
    track twice in a frame.
    """
    kept: list[tuple[int, Thing, tuple]] = []
    for frame in sorted(video.things):
        if frame not in sizes:
            thing = video.things[frame][0]
            raise InputError(
                f"{thing.where}: an object in frame {frame} of {video.name} (from 0), which has {len(sizes)} frames; "
                "give the frames that were annotated"
            )
        seen: dict[int | str, str] = {}
        for thing in video.things[frame]:
            if thing.name not in class_ids:
                dropped[OTHER] += 1
                continue
            box = inclusive(thing.edges, *sizes[frame])
            if box is None:
                dropped[EMPTY] += 1
                continue
            if thing.track is not None and seen.setdefault(thing.track, thing.where) != thing.where:
                raise InputError(
                    f"{thing.where}: track {thing.track} stands twice in frame {frame} of {video.name} (first: "
                    f"{seen[thing.track]}); give each object its own"
                )
            kept.append((frame, thing, box))
    objects: dict[int, list[Object]] = {}
    for (frame, thing, box), track in zip(kept, _tracks(kept)):
        objects.setdefault(frame, []).append(Object(class_ids[thing.name], box, track, thing.occluded, thing.generated))
    return objects


def _tracks(kept: Sequence[tuple[int, Thing, tuple]]) -> list[int]:
    """Track numbers: the source's where they all are numbers that fit, else counted from 0; then those made up."""
    given = list(dict.fromkeys(thing.track for _, thing, _ in kept if thing.track is not None))
    if all(isinstance(track, int) and 0 <= track <= LARGEST_TRACK for track in given):
        numbers = {track: track for track in given}
    else:
        numbers = {track: number for number, track in enumerate(given)}
    used = set(numbers.values())
    free = (number for number in itertools.count() if number not in used)
    linked = _linked([(frame, thing.name, box) for frame, thing, box in kept if thing.track is None])
    made_up = {link: next(free) for link in dict.fromkeys(linked)}
    rest = iter(linked)
    return [made_up[next(rest)] if thing.track is None else numbers[thing.track] for _, thing, _ in kept]


def _linked(boxes: Sequence[tuple[int, str, tuple]]) -> list[int]:
    """A number for each box (frame, class, box), in order of frames; the same for those that are taken for one object.

    The pair of one class with the largest overlap between a frame and the next is joined first.
    """
    links = list(range(len(boxes)))
    before: list[int] = []
    for frame, group in itertools.groupby(range(len(boxes)), key=lambda row: boxes[row][0]):
        now = list(group)
        near = [row for row in before if boxes[row][0] == frame - 1]
        pairs = [
            (overlap, old, new)
            for old, new in itertools.product(near, now)
            if boxes[old][1] == boxes[new][1] and (overlap := _iou(boxes[old][2], boxes[new][2])) >= LINK_IOU
        ]
        taken: set[int] = set()
        for _, old, new in sorted(pairs, key=lambda pair: -pair[0]):
            if old not in taken and new not in taken:
                taken |= {old, new}
                links[new] = links[old]
        before = now
    return links


def _iou(one: Sequence[float], other: Sequence[float]) -> float:
    """IoU of two boxes, inclusive pixels."""
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other)]
    return width * height / (sum(areas) - width * height)
