"""Imports `CVAT for video 1.1` XML as a dataset in the ImageNet VID layout.

    python -m lib.dataset.import_cvat --xml task1.xml task2.xml --media videos --out data/mine

Each file is one task: the XML, or the ZIP archive in which CVAT exports it. Its frames are a video file or an image
folder in --media with the name of the XML's <source>, of the task, or of the file itself. The imported video is named
after the file, or after the task if CVAT chose the file's name (ZIP archives and annotations.xml). Frames between two
keyframes of a track that are missing in the file are interpolated and marked as generated. `outside` ends a track until
its next keyframe, and the last keyframe holds until the end of the task. Edges xtl, ytl, xbr, ybr are continuous pixels
(here x1 = xtl, x2 = xbr - 1). Rotated boxes are replaced by their bounding boxes; shapes other than boxes are left out.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from xml.parsers import expat

from lib.dataset.importing.archive import named_by_cvat, opened_xml
from lib.dataset.importing.clips import Edges, Found, SourceObject, Video
from lib.dataset.importing.command import importer
from lib.dataset.importing.frames import ImageFiles, VideoFile, find_media, images_in
from lib.dataset.importing.values import flag, number, whole
from lib.errors import LONGEST, InputError, quoted

SHAPES = ("polygon", "polyline", "points", "ellipse", "cuboid", "skeleton", "mask")
NO_BOXES = "that are not boxes (polygons and similar shapes)"
MOST_BOXES = 2_000_000  # of a task
MOST_FRAMES = 200_000  # of a task: two hours of film
WHAT = "a task exported as `CVAT for video 1.1`"


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
    """Content of one XML file. other: number of shapes that are not boxes."""

    path: Path
    labels: list[str] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
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
        drawn = (frame for track in self.tracks for frame in track.keys)
        last = whole(self.meta.get("stop_frame") or max(drawn, default=start), where, "stop_frame", start)
        return self._limited(range(start, last + 1, step))

    def _limited(self, frames: range) -> range:
        if frames.stop - frames.start > MOST_FRAMES * frames.step:
            raise InputError(f"{self.path}: a task of more than {MOST_FRAMES} frames; export it in parts")
        return frames


def read(paths: Sequence[Path], media: Path, order: str | None = None) -> Found:
    """Reads tasks. order: order of image files, "name" or "natural", or None if both are the same.

    Raises InputError, with file and line, if a file is not such a task, a box is malformed or frames are missing.
    """
    names: dict[str, None] = {}
    dropped: Counter = Counter()
    videos = []
    for path in paths:
        task = parse(path)
        names.update(dict.fromkeys(task.labels))
        names.update(dict.fromkeys(track.label for track in task.tracks))
        if task.other:
            dropped[NO_BOXES] += task.other
        wanted = task.frames()
        video = Video(_name(task), _frames(task, wanted, media, only_task=len(paths) == 1, order=order))
        places = {frame: place for place, frame in enumerate(wanted)}
        count = 0
        for track in task.tracks:
            for frame, key in filled(track, wanted):
                count += 1
                if count > MOST_BOXES:
                    raise InputError(f"{path}: more than {MOST_BOXES} boxes once interpolated; export it in parts")
                thing = SourceObject(track.label, key.edges, track.number, key.where, key.occluded, key.generated)
                video.add(places[frame], thing)
        videos.append(video)
    return Found(videos, list(names), None, dropped)


def filled(track: Track, frames: range) -> Iterator[tuple[int, Key]]:
    """Yields (frame, box) for all frames where the track is not outside, interpolated between its keys.

    Raises InputError if a key is at a frame that the task does not have.
    """
    places = sorted(track.keys)
    for frame in places:
        if frame not in frames:
            what = f"frames {frames.start} to {frames[-1]}" + (f" in steps of {frames.step}" if frames.step > 1 else "")
            raise InputError(f"{track.keys[frame].where}: frame {frame}, but the task has {what}; export it again")
    for before, after in zip(places, [*places[1:], None]):
        key = track.keys[before]
        if key.outside:
            continue
        yield before, key
        for frame in range(before + frames.step, frames.stop if after is None else after, frames.step):
            box = key.edges
            if after is not None and not track.keys[after].outside:
                share = (frame - before) / (after - before)
                left, top, right, bottom = (
                    one + share * (other - one) for one, other in zip(key.edges, track.keys[after].edges)
                )
                box = left, top, right, bottom
            yield frame, Key(box, False, key.occluded, True, key.where)


def _name(task: Task) -> str:
    """Name of the video in the dataset."""
    if not named_by_cvat(task.path):
        return task.path.stem
    return task.meta.get("name") or PureWindowsPath(task.meta.get("source") or "").stem or task.path.stem


def _frames(task: Task, wanted: range, media: Path, only_task: bool, order: str | None) -> ImageFiles | VideoFile:
    source = task.meta.get("source") or ""
    if only_task and (media.is_file() or (media.is_dir() and _has_images(media))):
        found = media
    else:
        source = PureWindowsPath(source).name  # understands both / and \
        names = [source, PureWindowsPath(source).stem, task.meta.get("name") or "", task.path.stem]
        found = find_media(media, names, str(task.path))
    if found.is_file():
        return VideoFile(found, tuple(wanted))
    natural, by_name = (images_in(found, way) for way in ("natural", "name"))
    if natural != by_name and order is None:
        raise InputError(
            f"{found}: ambiguous order of images (2 before 10, or after?); give --order name (as CVAT does) or natural"
        )
    images = natural if order == "natural" else by_name
    if len(images) == len(wanted):  # only the task's own frames were kept
        return ImageFiles(tuple(images))
    if len(images) <= wanted[-1]:
        raise InputError(f"{found}: {len(images)} images, but {task.path} has frames to {wanted[-1]}; add the others")
    return ImageFiles(tuple(images[frame] for frame in wanted))


def _has_images(folder: Path) -> bool:
    try:
        return bool(images_in(folder))
    except InputError:
        return False


def parse(path: Path) -> Task:
    """Reads one XML file. Raises InputError, with the line, if it is broken or not a task of CVAT for video."""
    reader = _Reader(path)
    with opened_xml(path, WHAT) as file:
        try:
            reader.parser.ParseFile(file)
        except (LookupError, ValueError) as error:  # an unknown encoding
            raise InputError(f"{path}:1: broken XML ({error}); export it again") from error
        except expat.ExpatError as error:
            raise InputError(
                f"{path}:{error.lineno}: broken XML ({expat.errors.messages[error.code]}); export it again"
            ) from error
    return reader.task


class _Reader:
    """Parses the file as a stream, which gives every box its line number."""

    def __init__(self, path: Path) -> None:
        self.task = Task(path)
        self.above: list[str] = []
        self.text = ""
        self.track: Track | None = None
        self.tasks = 0
        self.parser = expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self.doctype
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.add_text

    def where(self) -> str:
        return f"{self.task.path}:{self.parser.CurrentLineNumber}"

    def doctype(self, *_: object) -> None:
        raise InputError(f"{self.where()}: XML with a <!DOCTYPE>, which is not read; remove it")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if not self.above and tag != "annotations":
            raise InputError(f"{self.where()}: <{tag[:LONGEST]}> instead of <annotations>; give {WHAT}")
        if tag == "image" and len(self.above) == 1:
            raise InputError(f"{self.where()}: this is `CVAT for images`; give {WHAT}")
        if tag == "task" and "meta" in self.above:
            self.tasks += 1
            if self.tasks > 1:
                raise InputError(f"{self.where()}: several tasks in one file; export each task separately")
        if tag == "track":
            label = attributes.get("label", "").strip()
            if not label:
                raise InputError(f"{self.where()}: track without a label; export it again")
            self.track = Track(label, whole(attributes.get("id"), self.where(), "the track's id"))
            self.task.tracks.append(self.track)
        elif self.track is not None and tag == "box":
            self.box(self.track, attributes)
        elif self.track is not None and tag in SHAPES and attributes.get("outside") != "1":
            self.task.other += 1
        self.above.append(tag)
        self.text = ""

    def box(self, track: Track, attributes: Mapping[str, str]) -> None:
        where = self.where()
        frame = whole(attributes.get("frame"), where, "frame")
        x1, y1, x2, y2 = (number(attributes.get(key), where, key) for key in ("xtl", "ytl", "xbr", "ybr"))
        if x2 < x1 or y2 < y1:
            raise InputError(f"{where}: inverted box {x1:g} {y1:g} {x2:g} {y2:g}; correct it")
        if frame in track.keys:
            raise InputError(f"{where}: a second box for frame {frame} in track {track.number}; export it again")
        track.keys[frame] = Key(
            _hull((x1, y1, x2, y2), number(attributes.get("rotation", 0), where, "rotation")),
            flag(attributes.get("outside"), where, "outside"),
            flag(attributes.get("occluded"), where, "occluded"),
            not flag(attributes.get("keyframe", "1"), where, "keyframe"),
            where,
        )

    def add_text(self, text: str) -> None:
        self.text += text

    def end(self, tag: str) -> None:
        self.above.pop()
        text = self.text.strip()
        if self.above[-2:] in (["meta", "task"], ["meta", "job"]) or self.above == ["annotations", "meta"]:
            if text:
                self.task.meta.setdefault(tag, text)
        elif tag == "name" and self.above[-1:] == ["label"] and text:
            self.task.labels.append(text)
        if tag == "track":
            self.track = None
        self.text = ""


def _hull(edges: Edges, degrees: float) -> Edges:
    """The axis-aligned bounding box of a box that is rotated about its centre."""
    if degrees % 360 == 0:
        return edges
    x1, y1, x2, y2 = edges
    cos, sin = (abs(part(math.radians(degrees))) for part in (math.cos, math.sin))
    width, height = (x2 - x1) * cos + (y2 - y1) * sin, (x2 - x1) * sin + (y2 - y1) * cos
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _add_options(add: Callable) -> None:
    add("--xml", type=Path, nargs="+", required=True, metavar="FILE", help="exported tasks, one per .xml or .zip file")
    media = "folder that contains the video files or image folders; with one task also the video file or folder itself"
    add("--media", type=Path, required=True, help=media)
    add("--order", choices=("name", "natural"), help="order of image files, needed if their names are ambiguous")


def _read(args: argparse.Namespace) -> tuple[Found, list[Path]]:
    return read(args.xml, args.media, args.order), args.xml


main = importer("import_cvat", __doc__, _add_options, _read)
