"""Imports MOTChallenge sequences as a dataset in the ImageNet VID layout.

    python -m lib.dataset.import_mot --media MOT17/train --out data/mot --names labels.txt

Each sequence is a folder with annotations in gt/gt.txt and frames in img1 (or in imDir of seqinfo.ini), in natural
order. Instead of img1 there may be a video file named like the sequence, in its folder or next to it. A line of gt.txt
is frame, id, left, top, width, height, confidence, class, visibility. Frames, classes and pixels count from 1 (here
x1 = left - 1, x2 = left - 1 + width - 1). Lines with confidence 0, which MOTChallenge does not evaluate, are left out.
In files with 6, 7 or 10 columns all objects are of one class, `object`.
"""

from __future__ import annotations

import argparse
import configparser
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from lib.argument import real
from lib.dataset.importing.clips import Found, SourceObject, Video
from lib.dataset.importing.command import importer
from lib.dataset.importing.frames import ImageFiles, VideoFile, find_video_file, images_in
from lib.dataset.importing.values import edges, number, read_names, whole
from lib.errors import InputError, read_text
from lib.reading import inside

WHAT = "a file of lines frame,id,left,top,width,height,confidence,class,visibility"
IGNORED = "objects that MOTChallenge does not evaluate (confidence 0)"
ONE_CLASS = "object"


def read(media: Path, names: Sequence[str] | None = None, occluded_below: float = 0.5) -> Found:
    """Reads all sequences in `media`, or `media` itself if it is one.

    names: class names from class 1 on; None for those in gt/labels.txt if it exists, otherwise `class<number>`.
    occluded_below: objects with a lower visibility are marked as occluded.
    Raises InputError, with file and line, if there is no sequence, a line is malformed or frames are missing.
    """
    found = [media.resolve()] if (media / "gt").is_dir() else sorted(path.parent for path in media.glob("*/gt"))
    if not found:
        raise InputError(f"{media}: contains no gt folder, nor do its folders; --media takes the folder of sequences")
    dropped: Counter = Counter()
    numbers: dict[str, int] = {}
    videos = [_sequence(folder, names, occluded_below, numbers, dropped) for folder in found]
    ordered = list(names) if names else sorted(numbers, key=lambda name: numbers[name])
    return Found(videos, ordered, None, dropped)


def _sequence(
    folder: Path, names: Sequence[str] | None, occluded_below: float, numbers: dict[str, int], dropped: Counter
) -> Video:
    path = folder / "gt" / "gt.txt"
    video = Video(folder.name, _frames(folder))
    labels = folder / "gt" / "labels.txt"
    if names is None and labels.is_file():
        names = read_names(labels)
    for line, text in enumerate(read_text(path, f"give {WHAT}").splitlines(), 1):
        if not text.strip():
            continue
        where = f"{path}:{line}"
        values = [part.strip() for part in text.split(",")]
        if len(values) not in (6, 7, 8, 9, 10):
            raise InputError(f"{where}: {len(values)} columns; give {WHAT}")
        frame = whole(values[0], where, "frame", 1)
        track = whole(values[1], where, "id", -1)
        left, top, width, height = (number(value, where, "a box coordinate") for value in values[2:6])
        cls, name = _class(values, names, where)
        visible = number(values[8], where, "visibility") if len(values) == 9 else 1.0
        if len(values) > 6 and number(values[6], where, "confidence") == 0:
            dropped[IGNORED] += 1
            continue
        numbers[name] = min(cls, numbers.get(name, cls))
        box = edges(left - 1, top - 1, width, height, where)
        occluded = visible < occluded_below
        video.add(frame - 1, SourceObject(name, box, None if track == -1 else track, where, occluded))
    return video


def _class(values: Sequence[str], names: Sequence[str] | None, where: str) -> tuple[int, str]:
    """(number, name) of a line's class."""
    if len(values) in (6, 7, 10):  # detections, and MOT15's ground truth, whose columns 8 to 10 are 3D coordinates
        cls, name = 1, names[0] if names else ONE_CLASS
    else:
        cls = whole(values[7], where, "class", 1)
        if names is not None and cls > len(names):
            raise InputError(f"{where}: class {cls}, but there are only {len(names)} names; name every class")
        name = names[cls - 1] if names is not None else f"class{cls}"
    return cls, name


def _frames(folder: Path) -> ImageFiles | VideoFile:
    info = folder / "seqinfo.ini"
    name = "img1"
    if info.is_file():
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(read_text(info, "give MOTChallenge's seqinfo.ini"))
            name = parser.get("Sequence", "imDir", fallback=name)
            inside(folder, name, str(info))
        except configparser.Error as error:
            raise InputError(f"{info}: broken ({' '.join(str(error).split())}); repair or remove it") from error
    if (folder / name).is_dir():
        return ImageFiles(tuple(images_in(folder / name)))
    places = ((folder, name), (folder, folder.name), (folder.parent, folder.name))
    found = next((path for place in places if (path := find_video_file(*place))), None)
    if found is None:
        raise InputError(f"{folder}: neither an image folder {name} nor a video file {folder.name}; add one of them")
    return VideoFile(found)


def _add_options(add: Callable) -> None:
    add("--media", type=Path, required=True, help="folder of the sequences, or one sequence")
    add("--names", type=Path, metavar="FILE", help="names of class 1, 2, ..., one per line (default: gt/labels.txt)")
    occluded = "visibility below which an object is marked as occluded (default: 0.5)"
    add("--occluded-below", type=real(), default=0.5, help=occluded)


def _read(args: argparse.Namespace) -> tuple[Found, list[Path]]:
    names = read_names(args.names) if args.names else None
    return read(args.media, names, args.occluded_below), [args.media]


main = importer("import_mot", __doc__, _add_options, _read)
