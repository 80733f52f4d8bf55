"""Imports `CVAT for video 1.1` and `CVAT for images 1.1` XML as a dataset in the ImageNet VID layout.

    python -m lib.dataset.import_cvat --xml task1.xml task2.xml --media videos --out data/mine

Each file is a task or a project: the XML, or the ZIP archive in which CVAT exports it. Each task becomes a video. Its
frames are a video file or an image folder in --media with the name of the XML's <source>, of the task, or (with one
task in the file) of the file itself. The video is named after the file, or after the task if the file has several or
CVAT chose its name (ZIP archives and annotations.xml). Frames between two keyframes of a track that are missing in the
file are interpolated and marked as generated. `outside` ends a track until its next keyframe, and the last keyframe
holds until the end of the task. In `CVAT for images` the id of an image is the number of its frame, and the attribute
track_id of a box, if there is one, its track. Edges xtl, ytl, xbr, ybr are continuous pixels (here x1 = xtl, x2 = xbr -
1). Rotated boxes are replaced by their bounding boxes; shapes other than boxes are left out.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PureWindowsPath

from lib.dataset.importing.archive import named_by_cvat
from lib.dataset.importing.clips import Found, SourceObject, Video
from lib.dataset.importing.command import importer
from lib.dataset.importing.cvat_xml import Key, Task, Track, parse
from lib.dataset.importing.frames import ImageFiles, VideoFile, find_media, has_images, images_in, number_in
from lib.errors import InputError

NO_BOXES = "objects that are not boxes (polygons and similar shapes)"
MOST_BOXES = MOST_FRAMES = 2_000_000  # of a file


def read(paths: Sequence[Path], media: Path, order: str | None = None) -> Found:
    """Reads tasks. order: order of image files, "name" or "natural", or None if both are the same.

    Raises InputError, with file and line, if a file is not such a task, a box is malformed or frames are missing.
    """
    names: dict[str, None] = {}
    dropped: Counter = Counter()
    videos = []
    parsed = [parse(path) for path in paths]
    boxes: Counter = Counter()  # by file
    frames: Counter = Counter()
    for task, single in ((task, len(tasks) == 1) for tasks in parsed for task in tasks):
        names.update(dict.fromkeys(task.labels))
        names.update(dict.fromkeys(track.label for track in task.tracks))
        names.update(dict.fromkeys(thing.name for things in task.boxes.values() for thing in things))
        if task.other:
            dropped[NO_BOXES] += task.other
        wanted = task.frames()
        frames[task.path] += len(wanted)
        if frames[task.path] > MOST_FRAMES:
            raise InputError(f"{task.path}: tasks of more than {MOST_FRAMES} frames in all; export it in parts")
        only = single and len(parsed) == 1
        video = Video(_name(task, single), _frames(task, wanted, media, single=single, only=only, order=order))
        places = {frame: place for place, frame in enumerate(wanted)}
        for track in task.tracks:
            for frame, key in filled(track, wanted):
                boxes[task.path] += 1
                if boxes[task.path] > MOST_BOXES:
                    raise InputError(f"{task.path}: more than {MOST_BOXES} boxes once interpolated; export it in parts")
                thing = SourceObject(track.label, key.edges, track.number, key.where, key.occluded, key.generated)
                video.add(places[frame], thing)
        for frame in sorted(task.names):
            things = task.boxes.get(frame, [])
            if things and frame not in places:
                raise InputError(f"{things[0].where}: image {frame}, but {_range(wanted)}; export it again")
            for thing in things:
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
            raise InputError(f"{track.keys[frame].where}: frame {frame}, but {_range(frames)}; export it again")
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


def _range(frames: range) -> str:
    steps = f" in steps of {frames.step}" if frames.step > 1 else ""
    return f"the task has frames {frames.start} to {frames[-1]}{steps}"


def _name(task: Task, single: bool) -> str:
    """Name of the video in the dataset. single: whether the task is the only one of its file."""
    if single and not named_by_cvat(task.path):
        return task.path.stem
    return task.meta.get("name") or PureWindowsPath(task.meta.get("source") or "").stem or task.path.stem


def _frames(
    task: Task, wanted: range, media: Path, *, single: bool, only: bool, order: str | None
) -> ImageFiles | VideoFile:
    """The frames of a task. single: whether it is the only task of its file; only: the only one at all."""
    source = task.meta.get("source") or ""
    if only and (media.is_file() or has_images(media)):
        found = media
    else:
        source = PureWindowsPath(source).name  # understands both / and \
        names = [source, PureWindowsPath(source).stem, task.meta.get("name") or "", task.path.stem if single else ""]
        found = find_media(media, names, str(task.path))
    if found.is_file():
        return VideoFile(found, tuple(wanted))
    by_own_name = tuple(found / PureWindowsPath(task.names.get(frame, "")).name for frame in wanted)
    if all(path.is_file() for path in by_own_name):
        return ImageFiles(by_own_name)
    natural, by_name = (images_in(found, way) for way in ("natural", "name"))
    if natural != by_name and order is None:
        raise InputError(
            f"{found}: ambiguous order of images (2 before 10, or after?); give --order name (as CVAT does) or natural"
        )
    images = natural if order == "natural" else by_name
    if len(images) == len(wanted):  # only the task's own frames were kept
        return ImageFiles(tuple(images))
    if len(images) <= wanted[-1]:
        numbers = [-1 if each is None else each for each in (number_in(path.name) for path in images)]
        after = [path.name for path, one, other in zip(images, numbers, numbers[1:]) if other - one > wanted.step]
        which = f"images after {after[0]}" if after else "others"
        raise InputError(
            f"{found}: {len(images)} images, but {task.path} has {len(wanted)} frames, numbered {wanted[0]} to "
            f"{wanted[-1]}; add the missing {which}"
        )
    return ImageFiles(tuple(images[frame] for frame in wanted))


def _add_options(add: Callable) -> None:
    add("--xml", type=Path, nargs="+", required=True, metavar="FILE", help="exported tasks and projects, .xml or .zip")
    media = "folder that contains the video files or image folders; with one task also the video file or folder itself"
    add("--media", type=Path, required=True, help=media)
    add("--order", choices=("name", "natural"), help="order of image files, needed if their names are ambiguous")


def _read(args: argparse.Namespace) -> tuple[Found, list[Path]]:
    return read(args.xml, args.media, args.order), args.xml


main = importer("import_cvat", __doc__, _add_options, _read)
