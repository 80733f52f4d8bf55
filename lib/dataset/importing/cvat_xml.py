"""Parses CVAT's XML: the tasks of a file, with their tracks or the boxes of their images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from xml.parsers import expat

from lib.dataset.importing.archive import opened_xml
from lib.dataset.importing.clips import Edges, SourceObject
from lib.dataset.importing.values import flag, number, whole
from lib.errors import LONGEST, InputError, quoted

SHAPES = ("polygon", "polyline", "points", "ellipse", "cuboid", "skeleton", "mask")
MOST_FRAMES = 200_000  # of a task: two hours of video
MOST_ELEMENTS = 2_000_000  # of a file, without attributes of boxes
DEEPEST = 100  # elements around an element
LONGEST_TEXT = 2**20  # characters of a text; bytes of a tag
WHAT = "a task or project exported as `CVAT for video 1.1` or `CVAT for images 1.1`"


@dataclass(frozen=True)
class Key:
    """The box of a track in one frame of the task. where: its place in the file, for messages."""

    edges: Edges
    outside: bool
    occluded: bool
    generated: bool
    where: str


@dataclass
class Track:
    """One track, with its boxes by frame number of the video."""

    label: str
    number: int
    keys: dict[int, Key] = field(default_factory=dict)


@dataclass
class Task:
    """One task of a file.

    names, boxes: of `CVAT for images`, the name and the boxes of each image by frame number; other: number of shapes
    that are not boxes.
    """

    path: Path
    labels: list[str] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    boxes: dict[int, list[SourceObject]] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    other: int = 0

    def frames(self) -> range:
        """Frame numbers of the video that belong to the task."""
        where = f"{self.path}: <meta>"
        start = whole(self.meta.get("start_frame") or 0, where, "start_frame")
        step = 1
        rule = (self.meta.get("frame_filter") or "").replace(" ", "")
        if rule:
            step = whole(rule.partition("step=")[2], where, f"frame_filter {quoted(rule)}", 1)
        if self.meta.get("size"):
            return self._limited(range(start, start + step * whole(self.meta["size"], where, "size", 1), step))
        drawn = {frame for track in self.tracks for frame in track.keys} | set(self.names)
        last = whole(self.meta.get("stop_frame") or max(drawn, default=start), where, "stop_frame", start)
        return self._limited(range(start, last + 1, step))

    def _limited(self, frames: range) -> range:
        if frames.stop - frames.start > MOST_FRAMES * frames.step:
            raise InputError(f"{self.path}: a task of more than {MOST_FRAMES} frames; export it in parts")
        return frames


def parse(path: Path) -> list[Task]:
    """The tasks of one file, at least one. Raises InputError, with the line, if it is broken or not CVAT's XML."""
    reader = _Reader(path)
    with opened_xml(path, WHAT) as file:
        try:
            reader.read(file)
        except (LookupError, ValueError) as error:  # an unknown encoding
            raise InputError(f"{path}:1: broken XML ({error}); export it again") from error
        except expat.ExpatError as error:
            raise InputError(
                f"{path}:{error.lineno}: broken XML ({expat.errors.messages[error.code]}); export it again"
            ) from error
    if len(reader.tasks) == 1:
        reader.tasks[0].meta = {**reader.meta, **reader.tasks[0].meta}
    for task in reader.tasks:
        task.labels = reader.labels
    return reader.tasks


class _Reader:
    """Parses the file as a stream, which gives every box its line number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tasks: list[Task] = []
        self.meta: dict[str, str] = {}  # of a job, and <source>
        self.labels: list[str] = []
        self.above: list[str] = []
        self.text: list[str] = []
        self.elements = 0
        self.task: Task | None = None  # of the track or image that is open
        self.track: Track | None = None
        self.frame: int | None = None
        self.box: tuple[str, dict[str, str]] | None = None  # of an image: place, attributes
        self.track_id: str | None = None  # of that box
        self.own = ""  # the name of the attribute that is open
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self.doctype
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.add_text

    def read(self, file: IO[bytes]) -> None:
        size = 0
        for block in iter(lambda: file.read(1 << 16), b""):
            self.parser.Parse(block)
            size += len(block)
            if size - self.parser.CurrentByteIndex > LONGEST_TEXT:  # what expat keeps until the tag ends
                raise self.excess(f"a tag of more than {LONGEST_TEXT} bytes")
        self.parser.Parse(b"", True)

    def excess(self, what: str) -> InputError:
        return InputError(f"{self.where()}: {what}; export it in parts")

    def where(self) -> str:
        return f"{self.path}:{self.parser.CurrentLineNumber}"

    def doctype(self, *_: object) -> None:
        raise InputError(f"{self.where()}: XML with a <!DOCTYPE>, which is not read; remove it")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.elements += tag != "attribute"
        if self.elements > MOST_ELEMENTS:
            raise self.excess(f"more than {MOST_ELEMENTS} elements")
        if len(self.above) > DEEPEST:
            raise self.excess(f"elements nested more than {DEEPEST} deep")
        if not self.above and tag != "annotations":
            raise InputError(f"{self.where()}: <{tag[:LONGEST]}> instead of <annotations>; give {WHAT}")
        if tag == "task" and self.above[1:2] == ["meta"] and self.above[-1] in ("meta", "tasks"):
            self.tasks.append(Task(self.path))
        if tag == "track":
            self.task = self.task_of(attributes, "track")
            self.track = Track(self.label(attributes, "track"), whole(attributes.get("id"), self.where(), "track's id"))
            self.task.tracks.append(self.track)
        elif tag == "image" and len(self.above) == 1:
            self.task = self.task_of(attributes, "image")
            self.frame = whole(attributes.get("id"), self.where(), "the image's id")
            if self.frame in self.task.names:
                raise InputError(f"{self.where()}: a second image {self.frame} in the task; export it again")
            self.task.names[self.frame] = attributes.get("name", "")
        elif tag == "box" and self.track is not None:
            self.key(self.track, attributes)
        elif tag == "box" and self.frame is not None:
            self.box, self.track_id = (self.where(), attributes), None
        elif tag == "attribute":
            self.own = attributes.get("name", "")
        elif tag in SHAPES and self.task is not None and attributes.get("outside") != "1":
            self.task.other += 1
        self.above.append(tag)
        self.text.clear()

    def task_of(self, attributes: Mapping[str, str], what: str) -> Task:
        """The task that a track or image belongs to: the only one, or that of its task_id."""
        if not self.tasks:
            self.tasks.append(Task(self.path))
        if len(self.tasks) == 1:
            return self.tasks[0]
        wanted = attributes.get("task_id")
        if wanted is None:
            raise InputError(
                f"{self.where()}: {what} without a task_id, but the file has {len(self.tasks)} tasks; export each task "
                "separately"
            )
        found = [task for task in self.tasks if task.meta.get("id") == wanted]
        if len(found) != 1:
            raise InputError(
                f"{self.where()}: {what} of task {quoted(wanted)}, which <meta> does not list; export it again"
            )
        return found[0]

    def label(self, attributes: Mapping[str, str], what: str) -> str:
        label = attributes.get("label", "").strip()
        if not label:
            raise InputError(f"{self.where()}: {what} without a label; export it again")
        return label

    def key(self, track: Track, attributes: Mapping[str, str]) -> None:
        where = self.where()
        frame = whole(attributes.get("frame"), where, "frame")
        if frame in track.keys:
            raise InputError(f"{where}: a second box for frame {frame} in track {track.number}; export it again")
        track.keys[frame] = Key(
            _edges(attributes, where),
            flag(attributes.get("outside"), where, "outside"),
            flag(attributes.get("occluded"), where, "occluded"),
            not flag(attributes.get("keyframe", "1"), where, "keyframe"),
            where,
        )

    def add_text(self, text: str) -> None:
        self.text.append(text)
        if len(self.text) > LONGEST_TEXT // self.parser.buffer_size:
            raise self.excess(f"a text of more than {LONGEST_TEXT} characters")

    def end(self, tag: str) -> None:
        self.above.pop()
        text = "".join(self.text).strip()
        if text and self.above[-2:] in (["meta", "task"], ["tasks", "task"]):
            self.tasks[-1].meta.setdefault(tag, text)
        elif text and (self.above[-2:] == ["meta", "job"] or self.above == ["annotations", "meta"]):
            self.meta.setdefault(tag, text)
        elif tag == "name" and self.above[-1:] == ["label"] and text:
            self.labels.append(text)
        elif tag == "attribute" and self.box is not None and self.own == "track_id":
            self.track_id = text
        if tag == "box" and self.box is not None and self.task is not None and self.frame is not None:
            self.task.boxes.setdefault(self.frame, []).append(self.thing(*self.box))
            self.box = None
        if tag in ("track", "image"):
            self.task = self.track = self.frame = None
        self.text.clear()

    def thing(self, where: str, attributes: Mapping[str, str]) -> SourceObject:
        track = self.track_id
        return SourceObject(
            self.label(attributes, "box"),
            _edges(attributes, where),
            int(track) if track and track.isascii() and track.isdigit() and len(track) < 19 else track or None,
            where,
            flag(attributes.get("occluded"), where, "occluded"),
        )


def _edges(attributes: Mapping[str, str], where: str) -> Edges:
    x1, y1, x2, y2 = (number(attributes.get(key), where, key) for key in ("xtl", "ytl", "xbr", "ybr"))
    if x2 < x1 or y2 < y1:
        raise InputError(f"{where}: inverted box {x1:g} {y1:g} {x2:g} {y2:g}; correct it")
    return _hull((x1, y1, x2, y2), number(attributes.get("rotation", 0), where, "rotation"))


def _hull(edges: Edges, degrees: float) -> Edges:
    """The axis-aligned bounding box of a box that is rotated about its centre."""
    if degrees % 360 == 0:
        return edges
    x1, y1, x2, y2 = edges
    cos, sin = (abs(part(math.radians(degrees))) for part in (math.cos, math.sin))
    width, height = (x2 - x1) * cos + (y2 - y1) * sin, (x2 - x1) * sin + (y2 - y1) * cos
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
