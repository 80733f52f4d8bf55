"""Imports MOTChallenge sequences into the layout of ImageNet VID.

    python -m lib.dataset.import_mot --media MOT17/train --out data/mot --names labels.txt

Each sequence is a folder: gt/gt.txt, and the frames in img1 (or as seqinfo.ini's imDir says), in natural order; or a
film of the sequence's name beside the folder. A line of gt.txt is frame, id, left, top, width, height, confidence,
class, visibility; all count from 1, the first pixel too (x1 = left - 1, x2 = left - 1 + width - 1 here). Confidence 0
marks what MOTChallenge does not count, and is left out. Files of 6, 7 or 10 columns have one class, `object`.
"""

from __future__ import annotations

import argparse
import configparser
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lib.dataset.importing.clips import Found, Thing, Video
from lib.dataset.importing.frames import Film, Pictures, find_film, pictures_in
from lib.dataset.importing.options import add_arguments, run
from lib.dataset.importing.values import edges, number, whole
from lib.errors import InputError, command, read_text

WHAT = "a file of lines frame,id,left,top,width,height,confidence,class,visibility"
IGNORED = "marked as not to count (confidence 0)"
ONE_CLASS = "object"


def read(media: Path, names: Sequence[str] | None = None, occluded_below: float = 0.5) -> Found:
    """Videos of all sequences in `media` (or of `media` itself, if it is one).

    names: class names from class 1 on; None: gt/labels.txt where there is one, else `class<number>`.
    occluded_below: objects of a smaller visibility are marked as occluded.
    InputError, with file and line: no sequence, a malformed line, frames that are not there.
    """
    found = [media.resolve()] if (media / "gt").is_dir() else sorted(path.parent for path in media.glob("*/gt"))
    if not found:
        raise InputError(f"{media}: no folder gt/ in it or in its folders; give the folder of the sequences to --media")
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
        frame = whole(values[0], where, "the frame", 1)
        track = whole(values[1], where, "the id", -1)
        left, top, width, height = (number(value, where, "a number of the box") for value in values[2:6])
        cls, name = _class(values, names, where)
        visible = number(values[8], where, "the visibility") if len(values) == 9 else 1.0
        if len(values) > 6 and number(values[6], where, "the confidence") == 0:
            dropped[IGNORED] += 1
            continue
        numbers[name] = min(cls, numbers.get(name, cls))
        box = edges(left - 1, top - 1, width, height, where)
        occluded = visible < occluded_below
        video.add(frame - 1, Thing(name, box, None if track == -1 else track, where, occluded))
    return video


def _class(values: Sequence[str], names: Sequence[str] | None, where: str) -> tuple[int, str]:
    """(number, name) of a line's class."""
    if len(values) in (6, 7, 10):  # detections and MOT15's ground truth, which has coordinates in space there
        cls, name = 1, names[0] if names else ONE_CLASS
    else:
        cls = whole(values[7], where, "the class", 1)
        if names is not None and cls > len(names):
            raise InputError(f"{where}: class {cls}, but there are {len(names)} names; give a name to each")
        name = names[cls - 1] if names is not None else f"class{cls}"
    return cls, name


def _frames(folder: Path) -> Pictures | Film:
    info = folder / "seqinfo.ini"
    name = "img1"
    if info.is_file():
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(read_text(info, "give MOTChallenge's seqinfo.ini"))
            name = parser.get("Sequence", "imDir", fallback=name)
        except configparser.Error as error:
            raise InputError(f"{info}: broken ({' '.join(str(error).split())}); repair or remove it") from error
    if (folder / name).is_dir():
        return Pictures(tuple(pictures_in(folder / name)))
    film = find_film(folder, name) or find_film(folder, folder.name) or find_film(folder.parent, folder.name)
    if film is None:
        raise InputError(f"{folder}: neither a folder {name} of pictures nor a film {folder.name}; put it there")
    return Film(film)


def read_names(path: Path) -> list[str]:
    """Class names, one a line. InputError: none."""
    names = [line.strip() for line in read_text(path, "give a file of class names").splitlines() if line.strip()]
    if not names:
        raise InputError(f"{path}: no name in it; write one class a line")
    return names


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.dataset.import_mot",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--media", type=Path, required=True, help="folder of the sequences, or one sequence")
    add("--names", type=Path, metavar="FILE", help="names of class 1, 2, ..., one a line (default: gt/labels.txt)")
    add("--occluded-below", type=float, default=0.5, help="visibility below which an object counts as occluded")
    add_arguments(parser)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    names = read_names(args.names) if args.names else None
    run(args, read(args.media, names, args.occluded_below), str(args.media))


if __name__ == "__main__":
    main()
