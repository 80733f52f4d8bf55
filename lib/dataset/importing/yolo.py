"""Imports YOLO label files, one per frame, as a dataset in the ImageNet VID layout.

    python -m lib.dataset.import_yolo --media images --labels labels --names classes.txt --out data/mine

Each folder below --media that contains images is a video, and so is each video file. Label files are in the folder of
the same name below --labels, or next to the images: <image>.txt, or, for a video file and for images of other names,
<video>/<anything>_<frame>.txt. Frames are numbered from 0 if there is a frame 0, otherwise from 1; --first-frame says
so where that is wrong. Label files of frames that are not there are left out and counted. A line is class (from 0),
then centre x, centre y, width and height, relative to the image size. A sixth column is a track id, as trackers write
it; with seven columns, the sixth is a confidence, which is ignored, and the seventh the track id. Frames without a
label file have no objects.
"""

from __future__ import annotations

import argparse
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from lib.dataset.importing.clips import Found, SourceObject, Video
from lib.dataset.importing.command import importer
from lib.dataset.importing.frames import ImageFiles, VideoFile, images_in, number_in
from lib.dataset.importing.values import edges, number, read_names, whole
from lib.dataset.media import PICTURES, VIDEOS, natural_key
from lib.errors import InputError, read_text
from lib.reading import walk

log = logging.getLogger(__name__)

NO_IMAGE = "label files of images that are not there"
NOT_LABELS = ("classes.txt", "obj.names")
LINE = "class x y width height [track]"


def read(media: Path, labels: Path, names: Sequence[str], first_frame: int | None = None) -> Found:
    """Reads all image folders and video files below `media`, and their labels below `labels`.

    names: class names from class 0 on; first_frame: number of the first frame in the names of label files that are not
    those of images, None to find out. Raises InputError, with file and line, if anything is missing or malformed.
    """
    videos = []
    dropped: Counter = Counter()
    for place in _places(media):
        name = place.relative_to(media).as_posix() if place != media else media.resolve().name
        if place.is_dir():
            images = images_in(place)
            video = Video(name, ImageFiles(tuple(images)))
            label_files = _labels_of_images(images, labels / place.relative_to(media), first_frame, dropped)
        else:
            video = Video(place.relative_to(media).with_suffix("").as_posix(), VideoFile(place))
            label_files = _labels_of_video_file(labels / video.name, first_frame, place)
        for frame, path in label_files.items():
            _read_labels(path, frame, video, names)
        videos.append(video)
    if not any(video.objects for video in videos):
        raise InputError(
            f"{labels}: no objects for the videos in {media}; folders must have the same names in both places"
        )
    return Found(videos, list(names), None, dropped)


def _places(media: Path) -> list[Path]:
    """Image folders and video files below `media`."""
    if not media.is_dir():
        raise InputError(f"{media}: no such folder; give the folder of image folders or video files to --media")
    found = []
    for folder, files in walk(media):
        shown = [name for name in files if not name.startswith(".")]
        if any(Path(name).suffix.lower() in PICTURES for name in shown):
            found.append(folder)
        found += [folder / name for name in shown if Path(name).suffix.lower() in VIDEOS]
    if not found:
        raise InputError(f"{media}: contains no images or video files; give their folder to --media")
    return sorted(found, key=lambda path: natural_key(str(path)))


def _labels_of_images(
    images: Sequence[Path], folder: Path, first_frame: int | None, dropped: Counter
) -> dict[int, Path]:
    """Label files by frame: those named like the images or, if there is none, by the number at the end of their names.

    Those of images that are not there are counted in `dropped`.
    """
    if not folder.is_dir():
        return {}
    stems = {path.stem: frame for frame, path in enumerate(images)}
    paths = [path for path in sorted(folder.glob("*.txt")) if path.name not in NOT_LABELS]
    found = {stems[path.stem]: path for path in paths if path.stem in stems}
    if not found and paths and all(number_in(path.name) is not None for path in paths):
        numbered = _numbered(paths, first_frame, images[0].parent)
        found = {frame: path for frame, path in numbered.items() if frame < len(images)}
    if len(paths) > len(found):
        dropped[NO_IMAGE] += len(paths) - len(found)
        first = next(path for path in paths if path not in found.values())
        log.warning("%s: no image for %d label files, the first is %s", folder, len(paths) - len(found), first.name)
    return found


def _labels_of_video_file(labels: Path, first_frame: int | None, video: Path) -> dict[int, Path]:
    """Label files by frame: <anything>_<frame>.txt in the folder `labels`, or <folder>_<frame>.txt next to it.

    Raises InputError if a file has no frame number, or a number before the first frame, or a frame has two files.
    """
    inside = [path for path in labels.glob("*.txt") if path.name not in NOT_LABELS]
    own = re.compile(re.escape(labels.name) + r"_\d+\.txt")
    beside = [path for path in labels.parent.glob("*.txt") if own.fullmatch(path.name)]
    return _numbered(sorted(inside + beside), first_frame, video)


def _numbered(paths: Sequence[Path], first_frame: int | None, video: Path) -> dict[int, Path]:
    """Files by frame, from the numbers at the end of their names."""
    numbers = []
    for path in paths:
        number = number_in(path.name)
        if number is None:
            raise InputError(f"{path}: no frame number at the end of its name; name it <video>_<frame>.txt")
        numbers.append(number)
    if first_frame is None and numbers:
        first_frame = min(*numbers, 1)
        log.info("%s: its label files number the frames from %d (otherwise give --first-frame)", video, first_frame)
    found: dict[int, Path] = {}
    for path, number in zip(paths, numbers):
        frame = number - (first_frame or 0)
        if frame < 0:
            raise InputError(f"{path}: comes before frame {first_frame} of {video}; give --first-frame")
        if frame in found:
            raise InputError(f"{path}: same frame as {found[frame]}; remove one")
        found[frame] = path
    return found


def _read_labels(path: Path, frame: int, video: Video, names: Sequence[str]) -> None:
    for line, text in enumerate(read_text(path, f"give a text file with lines `{LINE}`").splitlines(), 1):
        values = text.split()
        if not values:
            continue
        where = f"{path}:{line}"
        if len(values) > 7:
            raise InputError(f"{where}: {len(values)} columns, as in a segmentation; export boxes, `{LINE}`")
        if len(values) < 5:
            raise InputError(f"{where}: {len(values)} columns; write `{LINE}`")
        cls = whole(values[0], where, "class")
        if cls >= len(names):
            raise InputError(f"{where}: class {cls} (from 0), but there are only {len(names)} names; add its name")
        x, y, w, h = (number(value, where, "a box coordinate") for value in values[1:5])
        if max(abs(x), abs(y), w, h) > 2:
            raise InputError(
                f"{where}: box {x:g} {y:g} {w:g} {h:g} is not relative to the image; divide it by the image size"
            )
        track = whole(values[-1], where, "the track id in the last column") if len(values) > 5 else None
        width, height = video.frames.size(frame)
        box = edges((x - w / 2) * width, (y - h / 2) * height, w * width, h * height, where)
        video.add(frame, SourceObject(names[cls], box, track, where))


def _add_options(add: Callable) -> None:
    add("--media", type=Path, required=True, help="folder that contains the image folders or video files")
    add("--labels", type=Path, help="folder of the label files, with the same subfolders (default: that of --media)")
    names = "class names from class 0 on: classes.txt, obj.names or data.yaml"
    add("--names", type=Path, required=True, metavar="FILE", help=names)
    first = "number of the first frame in the names of label files (default: 0 if there is a frame 0, otherwise 1)"
    add("--first-frame", type=int, help=first)


def _read(args: argparse.Namespace) -> tuple[Found, list[Path]]:
    labels = args.labels or args.media
    return read(args.media, labels, read_names(args.names), args.first_frame), [labels]


main = importer("import_yolo", __doc__, _add_options, _read)
