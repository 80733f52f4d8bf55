"""Imports `CVAT for video 1.1` XML into the layout of ImageNet VID.

    python -m lib.dataset.import_cvat --xml task1.xml task2.xml --media films --out data/mine

Each file is one task: the XML, or the ZIP archive that CVAT packs it into. Its frames are a film or a folder of
pictures in --media, called as the XML's <source>, the task, or the file itself. The video gets the file's name, but the
task's where CVAT named the file (an archive, annotations.xml). Frames between two keyframes of a track are interpolated
where the file leaves them out (and marked as generated); `outside` ends a track until its next keyframe; the last
keyframe holds to the end of the task. Edges xtl, ytl, xbr, ybr are continuous pixels (x1 = xtl, x2 = xbr - 1 here).
Of a rotated box its upright hull is taken; shapes that are no boxes are left out.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from xml.parsers import expat

from lib.dataset.importing.archive import named_by_cvat, opened_xml
from lib.dataset.importing.clips import Edges, Found, Thing, Video
from lib.dataset.importing.frames import Film, Pictures, find_media, pictures_in
from lib.dataset.importing.options import add_arguments, run
from lib.dataset.importing.values import flag, number, whole
from lib.errors import InputError, command

SHAPES = ("polygon", "polyline", "points", "ellipse", "cuboid", "skeleton", "mask")
NO_BOXES = "that are no boxes (polygons and the like)"
WHAT = "a task exported as `CVAT for video 1.1`"


@dataclass(frozen=True)
class Key:
    """A box of a track at one frame of the task."""

    edges: Edges
    outside: bool
    occluded: bool
    generated: bool
    where: str


@dataclass
class Track:
    """One track: its boxes by frame, in the film's numbers."""

    label: str
    number: int
    keys: dict[int, Key] = field(default_factory=dict)


@dataclass
class Task:
    """What one XML file says."""

    path: Path
    labels: list[str] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)
    meta: dict[str, str] = field(default_factory=dict)
    other: int = 0

    def frames(self) -> range:
        """The film's frames that the task has."""
        where = f"{self.path}: <meta>"
        start = whole(self.meta.get("start_frame") or 0, where, "start_frame")
        step = 1
        rule = (self.meta.get("frame_filter") or "").replace(" ", "")
        if rule:
            step = whole(rule.partition("step=")[2], where, f"frame_filter {rule!r}", 1)
        if self.meta.get("size"):
            return range(start, start + step * whole(self.meta["size"], where, "size", 1), step)
        last = self.meta.get("stop_frame")
        if not last:
            last = max((frame for track in self.tracks for frame in track.keys), default=start)
        return range(start, whole(last, where, "stop_frame", start) + 1, step)


def read(paths: Sequence[Path], media: Path, order: str | None = None) -> Found:
    """Videos of the tasks; `order` of picture files: "name" or "natural", None where both are the same.

    InputError, with file and line: not such a file, malformed boxes, frames that are not there.
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
        video = Video(_name(task), _frames(task, wanted, media, alone=len(paths) == 1, order=order))
        places = {frame: place for place, frame in enumerate(wanted)}
        for track in task.tracks:
            for frame, key in filled(track, wanted):
                thing = Thing(track.label, key.edges, track.number, key.where, key.occluded, key.generated)
                video.add(places[frame], thing)
        videos.append(video)
    return Found(videos, list(names), None, dropped)


def filled(track: Track, frames: range) -> Iterator[tuple[int, Key]]:
    """(frame, box) of a track in all frames where it is inside, interpolated between its keys.

    InputError: a key at a frame that the task does not have.
    """
    places = sorted(track.keys)
    for frame in places:
        if frame not in frames:
            what = f"frames {frames.start} to {frames[-1]}" + (f" in steps of {frames.step}" if frames.step > 1 else "")
            raise InputError(f"{track.keys[frame].where}: frame {frame}, but the task has {what}; export it anew")
    for before, after in zip(places, [*places[1:], None]):
        key = track.keys[before]
        if key.outside:
            continue
        yield before, key
        for frame in range(before + frames.step, frames.stop if after is None else after, frames.step):
            box = key.edges
            if after is not None and not track.keys[after].outside:
                share = (frame - before) / (after - before)
                box = tuple(one + share * (other - one) for one, other in zip(key.edges, track.keys[after].edges))
            yield frame, Key(box, False, key.occluded, True, key.where)


def _name(task: Task) -> str:
    """What the video is called here."""
    if not named_by_cvat(task.path):
        return task.path.stem
    return task.meta.get("name") or PureWindowsPath(task.meta.get("source") or "").stem or task.path.stem


def _frames(task: Task, wanted: range, media: Path, alone: bool, order: str | None) -> Pictures | Film:
    source = task.meta.get("source") or ""
    if alone and (media.is_file() or (media.is_dir() and _holds_pictures(media))):
        found = media
    else:
        source = PureWindowsPath(source).name  # takes both kinds of path apart
        names = [source, PureWindowsPath(source).stem, task.meta.get("name") or "", task.path.stem]
        found = find_media(media, names, str(task.path))
    if found.is_file():
        return Film(found, tuple(wanted))
    natural, by_name = (pictures_in(found, way) for way in ("natural", "name"))
    if natural != by_name and order is None:
        raise InputError(
            f"{found}: names do not tell whether frame 2 comes before 10; give --order name (CVAT's own way) or natural"
        )
    pictures = natural if order == "natural" else by_name
    if len(pictures) == len(wanted):  # only the task's own frames were kept
        return Pictures(tuple(pictures))
    if len(pictures) <= wanted[-1]:
        raise InputError(
            f"{found}: {len(pictures)} pictures, but {task.path} has frames to {wanted[-1]}; add the others"
        )
    return Pictures(tuple(pictures[frame] for frame in wanted))


def _holds_pictures(folder: Path) -> bool:
    try:
        return bool(pictures_in(folder))
    except InputError:
        return False


def parse(path: Path) -> Task:
    """One XML file. InputError with the line: broken, or not a task of CVAT for video."""
    reader = _Reader(path)
    try:
        with opened_xml(path, WHAT) as file:
            reader.parser.ParseFile(file)
    except (LookupError, ValueError) as error:  # an encoding that there is not
        raise InputError(f"{path}:1: broken XML ({error}); export it anew") from error
    except expat.ExpatError as error:
        raise InputError(
            f"{path}:{error.lineno}: broken XML ({expat.errors.messages[error.code]}); export it anew"
        ) from error
    return reader.task


class _Reader:
    """Takes a file in as a stream, so that every box knows its line."""

    def __init__(self, path: Path) -> None:
        self.task = Task(path)
        self.above: list[str] = []
        self.text = ""
        self.track: Track | None = None
        self.tasks = 0
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.add_text

    def where(self) -> str:
        return f"{self.task.path}:{self.parser.CurrentLineNumber}"

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if not self.above and tag != "annotations":
            raise InputError(f"{self.where()}: <{tag}> instead of <annotations>; give {WHAT}")
        if tag == "image" and len(self.above) == 1:
            raise InputError(f"{self.where()}: this is `CVAT for images`; give {WHAT}")
        if tag == "task" and "meta" in self.above:
            self.tasks += 1
            if self.tasks > 1:
                raise InputError(f"{self.where()}: several tasks in one file; export each task by itself")
        if tag == "track":
            label = attributes.get("label", "").strip()
            if not label:
                raise InputError(f"{self.where()}: track without a label; export it anew")
            self.track = Track(label, whole(attributes.get("id"), self.where(), "the track's id"))
            self.task.tracks.append(self.track)
        elif self.track is not None and tag == "box":
            self.box(attributes)
        elif self.track is not None and tag in SHAPES and attributes.get("outside") != "1":
            self.task.other += 1
        self.above.append(tag)
        self.text = ""

    def box(self, attributes: Mapping[str, str]) -> None:
        where = self.where()
        frame = whole(attributes.get("frame"), where, "frame")
        x1, y1, x2, y2 = (number(attributes.get(key), where, key) for key in ("xtl", "ytl", "xbr", "ybr"))
        if x2 < x1 or y2 < y1:
            raise InputError(f"{where}: inverted box {x1:g} {y1:g} {x2:g} {y2:g}; correct it")
        if frame in self.track.keys:
            raise InputError(f"{where}: a second box at frame {frame} in track {self.track.number}; export it anew")
        self.track.keys[frame] = Key(
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
    """The upright box round one that is turned about its centre."""
    if degrees % 360 == 0:
        return edges
    x1, y1, x2, y2 = edges
    cos, sin = (abs(part(math.radians(degrees))) for part in (math.cos, math.sin))
    width, height = (x2 - x1) * cos + (y2 - y1) * sin, (x2 - x1) * sin + (y2 - y1) * cos
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.dataset.import_cvat",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--xml", type=Path, nargs="+", required=True, metavar="FILE", help="exported tasks, one a file: .xml or .zip")
    add("--media", type=Path, required=True, help="folder of the films or picture folders, or the one itself")
    add("--order", choices=("name", "natural"), help="order of picture files, where names leave it open")
    add_arguments(parser)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    more = f" and {len(args.xml) - 3} more" if len(args.xml) > 3 else ""
    run(args, read(args.xml, args.media, args.order), ", ".join(map(str, args.xml[:3])) + more)


if __name__ == "__main__":
    main()
