"""Imports YOLO text files, one a frame, into the layout of ImageNet VID.

    python -m lib.dataset.import_yolo --media images --labels labels --names classes.txt --out data/mine

Each folder of --media that holds pictures is a video, and so is each film. Texts lie in the same folder of --labels
(<picture>.txt; for a film <film>/<anything>_<frame>.txt, the first frame being --first-frame), or beside the pictures.
A line is class (from 0), then centre x, centre y, width, height in shares of the picture; a sixth number is a track id,
as trackers write it; of seven the sixth is a confidence, which is ignored, and the last the track id. A frame without
a text has no object.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from lib.dataset.importing.clips import Found, Thing, Video
from lib.dataset.importing.frames import Film, Pictures, pictures_in
from lib.dataset.importing.options import add_arguments, run
from lib.dataset.importing.values import edges, number, whole
from lib.dataset.media import PICTURES, VIDEOS, natural_key
from lib.errors import InputError, command, read_text

NOT_LABELS = ("classes.txt", "obj.names")
LINE = "class x y width height [track]"


def read(media: Path, labels: Path, names: Sequence[str], first_frame: int = 1) -> Found:
    """Videos of all folders with pictures, and all films, below `media`. InputError, with file and line."""
    videos = []
    for place in _places(media):
        name = place.relative_to(media).as_posix() if place != media else media.resolve().name
        if place.is_dir():
            video = Video(name, Pictures(tuple(pictures_in(place))))
            texts = _texts_of_pictures(video.frames.paths, labels / place.relative_to(media))
        else:
            video = Video(place.relative_to(media).with_suffix("").as_posix(), Film(place))
            texts = _texts_of_film(labels / video.name, first_frame, place)
        for frame, path in texts.items():
            _read_text(path, frame, video, names)
        videos.append(video)
    if not any(video.things for video in videos):
        raise InputError(
            f"{labels}: no objects for the videos in {media}; the folders must have the same names in both"
        )
    return Found(videos, list(names))


def read_names(path: Path) -> list[str]:
    """Class names from class 0 on: one a line, or `names` of a YAML file (a list, or names by number)."""
    text = read_text(path, "give class names, one a line, or data.yaml")
    if path.suffix.lower() not in (".yaml", ".yml"):
        names: object = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"{path}: not YAML ({' '.join(str(error).split())}); repair it") from error
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, dict):
            names = [names[key] for key in range(len(names))] if set(names) == set(range(len(names))) else None
    if not isinstance(names, list) or not names:
        raise InputError(f"{path}: no class names in it; write one a line, or `names` in YAML, from class 0 on")
    return [str(name) for name in names]


def _places(media: Path) -> list[Path]:
    """Folders with pictures, and films."""
    if not media.is_dir():
        raise InputError(f"{media}: no such folder; give the folder of the videos' frames to --media")
    found = []
    for folder, _, files in os.walk(media, followlinks=True):
        shown = [name for name in files if not name.startswith(".")]
        if any(Path(name).suffix.lower() in PICTURES for name in shown):
            found.append(Path(folder))
        found += [Path(folder, name) for name in shown if Path(name).suffix.lower() in VIDEOS]
    if not found:
        raise InputError(f"{media}: neither pictures nor films below it; give the folder of the videos' frames")
    return sorted(found, key=lambda path: natural_key(str(path)))


def _texts_of_pictures(pictures: Sequence[Path], folder: Path) -> dict[int, Path]:
    """Label files by frame. InputError: one without a picture."""
    if not folder.is_dir():
        return {}
    stems = {path.stem: frame for frame, path in enumerate(pictures)}
    found = {}
    for path in sorted(folder.glob("*.txt")):
        if path.stem in stems:
            found[stems[path.stem]] = path
        elif path.name not in NOT_LABELS:
            raise InputError(f"{path}: no picture {path.stem} in {pictures[0].parent}; add it, or remove the text")
    return found


def _texts_of_film(labels: Path, first_frame: int, film: Path) -> dict[int, Path]:
    """Label files by frame: labels/<anything>_<frame>.txt of the folder `labels`, or beside it <folder>_<frame>.txt."""
    inside = [path for path in labels.glob("*.txt") if path.name not in NOT_LABELS]
    own = re.compile(re.escape(labels.name) + r"_\d+\.txt")
    beside = [path for path in labels.parent.glob("*.txt") if own.fullmatch(path.name)]
    found: dict[int, Path] = {}
    for path in sorted(inside + beside):
        digits = re.search(r"(\d+)$", path.stem)
        if digits is None:
            raise InputError(f"{path}: no frame number at the end of its name; call it <film>_<frame>.txt")
        frame = int(digits.group(1)) - first_frame
        if frame < 0:
            raise InputError(f"{path}: comes before frame {first_frame} of {film}; give --first-frame")
        if frame in found:
            raise InputError(f"{path}: the same frame as {found[frame]}; remove one")
        found[frame] = path
    return found


def _read_text(path: Path, frame: int, video: Video, names: Sequence[str]) -> None:
    for line, text in enumerate(read_text(path, f"give a text of lines `{LINE}`").splitlines(), 1):
        values = text.split()
        if not values:
            continue
        where = f"{path}:{line}"
        if len(values) > 7:
            raise InputError(f"{where}: {len(values)} columns, an outline; export boxes, `{LINE}`")
        if len(values) < 5:
            raise InputError(f"{where}: {len(values)} columns; write `{LINE}`")
        cls = whole(values[0], where, "the class")
        if cls >= len(names):
            raise InputError(f"{where}: class {cls}, but there are {len(names)} names, from 0; name it")
        x, y, w, h = (number(value, where, "a number of the box") for value in values[1:5])
        if max(abs(x), abs(y), w, h) > 2:
            raise InputError(
                f"{where}: box {x:g} {y:g} {w:g} {h:g} is not in shares of the picture; divide by its size"
            )
        track = whole(values[-1], where, "the last of more than 5 columns, the track id,") if len(values) > 5 else None
        width, height = video.frames.size(frame)
        box = edges((x - w / 2) * width, (y - h / 2) * height, w * width, h * height, where)
        video.add(frame, Thing(names[cls], box, track, where))


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.dataset.import_yolo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--media", type=Path, required=True, help="folder of the videos' folders of pictures, or of films")
    add("--labels", type=Path, help="the same folders with the texts (default: beside the pictures)")
    add(
        "--names", type=Path, required=True, metavar="FILE", help="classes.txt, obj.names or data.yaml, from class 0 on"
    )
    add("--first-frame", type=int, default=1, help="number of a film's first frame in the texts' names (default: 1)")
    add_arguments(parser)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    labels = args.labels or args.media
    run(args, read(args.media, labels, read_names(args.names), args.first_frame), str(labels))


if __name__ == "__main__":
    main()
