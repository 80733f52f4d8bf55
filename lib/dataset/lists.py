"""Reads list files, and creates them for a dataset folder by the same rules as the published ones.

    python -m lib.dataset.lists --root data/X

Rule of the published training list (`VID_train_15frames` of FGFA): all frames of a clip of n <= 15 frames; of a longer
clip, the frames floor(j / r - 0.5 / r) with r = 15 / n and j = 1..15, in float64. Rounding of `r` shifts a frame in
about one clip in ten, so integer arithmetic does not give the same list.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.argument import Parser, positive, whole
from lib.dataset.classes import ClassList
from lib.dataset.index import AnnotationIndex, build_index
from lib.errors import InputError, command, quoted, read_text, start_logging
from lib.files import replacing
from lib.reading import escapes, walk

log = logging.getLogger(__name__)

VID_TRAIN_FORM = "<video> 1 <frame> <frames>"
DET_TRAIN_FORM = "<image> 1"
VIDEOS_FORM = "<video> <id> 0 <frames>"
FRAMES_FORM = "<image> <id>"

LARGEST_NUMBER = 2**31 - 1  # in a list
MOST_FRAMES = 2_000_000  # of the videos of one list


@dataclass(frozen=True)
class Row:
    """One line of a list: its line number, its first column (a path), the other columns as integers."""

    line: int
    name: str
    numbers: tuple[int, ...]


def read_rows(path: str | Path, form: str) -> list[Row]:
    """Reads a list whose lines have the form `form`, such as `<video> 1 <frame> <n>`: a path, then integers >= 0.

    Raises InputError if the file is missing or empty or, with the line, if a line does not have this form.
    """
    path = Path(path)
    columns = len(form.split())
    root = path.parent.parent
    if path.parent.name == "ImageSets" and not root.is_dir():
        made = "run `make data`" if root.name == "MiniVID" else "give the folder of the dataset"
        raise InputError(f"{root}: no such dataset folder; {made}")
    lines = read_text(path, "create it or name another dataset or image set", "list file cannot be read").splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != columns:
            raise InputError(f"{path}:{number}: {len(fields)} columns instead of {columns}; write `{form}`")
        if not all(field.isascii() and field.isdigit() for field in fields[1:]):
            raise InputError(f"{path}:{number}: only the first column may be text; write `{form}` with integers")
        if any(len(field) > 10 or int(field) > LARGEST_NUMBER for field in fields[1:]):
            raise InputError(f"{path}:{number}: a number is larger than {LARGEST_NUMBER}; correct it")
        if escapes(fields[0]):
            raise InputError(f"{path}:{number}: {quoted(fields[0])} leaves the dataset's folder; correct it")
        rows.append(Row(number, fields[0], tuple(map(int, fields[1:]))))
    if form == VIDEOS_FORM and sum(row.numbers[-1] for row in rows) > MOST_FRAMES:
        raise InputError(f"{path}: its videos have more than {MOST_FRAMES} frames; correct or split the list")
    if not rows:
        raise InputError(f"{path}: the list is empty; write `{form}`, one per line")
    return rows


def read_image_ids(path: str | Path) -> list[str]:
    """Image ids of a list of frames (`<image> <id>`) or of videos (`<video> <id> 0 <frames>`), in the list's order.

    Raises InputError as `read_rows` does.
    """
    form = form_of_test_list(path)
    rows = read_rows(path, form)
    if form == VIDEOS_FORM:
        return [f"{row.name}/{frame:06d}" for row in rows for frame in range(row.numbers[-1])]
    return [row.name for row in rows]


def form_of_test_list(path: str | Path) -> str:
    """VIDEOS_FORM or FRAMES_FORM, by the number of columns in a test list's first line.

    FRAMES_FORM if the file cannot be read: `read_rows` then reports the error.
    """
    try:
        lines = read_text(path, "").splitlines()
    except InputError:
        lines = []
    columns = next((len(line.split()) for line in lines if line.strip()), 0)
    return VIDEOS_FORM if columns == 4 else FRAMES_FORM


def sampled_frames(count: int, frames: int = 15) -> list[int]:
    """Frame numbers that a training list takes from a clip of `count`: at most `frames`, evenly spaced, increasing."""
    if frames < 1:
        raise ValueError(f"{frames} frames per clip; must be at least 1")
    if count <= frames:
        return list(range(count))
    rate = float(frames) / count
    return [math.floor(step / rate - 0.5 / rate) for step in range(1, frames + 1)]


def find_clips(root: str | Path, split: str) -> list[tuple[str, int]]:
    """(video, number of frames) of every folder with images below Data/VID/<split>, sorted by name.

    Raises InputError if the folder does not exist or contains no clip, or frames are not numbered 000000.JPEG,
    000001.JPEG, ... without gaps.
    """
    data = Path(root) / "Data" / "VID"
    if not (data / split).is_dir():
        raise InputError(f"{data / split}: no such folder; put the clips there or give another --root")
    clips = []
    for folder, files in walk(data / split):
        if folder.name.endswith(".JPEG"):
            raise InputError(f"{folder}: is a folder with the name of an image; rename or remove it")
        images = {name for name in files if name.endswith(".JPEG")}
        if images:
            video = folder.relative_to(data).as_posix()
            if len(video.split()) != 1 or not video.isprintable():
                what = "with blanks, or not UTF-8"
                raise InputError(f"{folder}: a name {what}, cannot be in a list; rename the folder")
            for frame in range(len(images)):
                if f"{frame:06d}.JPEG" not in images:
                    what = f"{len(images)} images, but no {frame:06d}.JPEG"
                    raise InputError(f"{folder}: {what}; number the frames from 0 without gaps")
            clips.append((video, len(images)))
    if not clips:
        raise InputError(f"{data / split}: contains no .JPEG files; put the clips there")
    return sorted(clips)


def splits_of(root: str | Path) -> list[str]:
    """Those of the splits "train" and "val" that have a folder below Data/VID."""
    return [split for split in ("train", "val") if (Path(root) / "Data" / "VID" / split).is_dir()]


def no_splits(root: str | Path) -> InputError:
    """The error that a dataset has none of these splits."""
    return InputError(f"{root}: contains neither Data/VID/train nor Data/VID/val; give the dataset's --root")


def video_lists(root: str | Path, frames: int = 15) -> dict[str, list[str]]:
    """Lines of the lists of a dataset's splits: VID_train_<frames>frames, VID_val_videos and VID_val_frames.

    Raises InputError as `find_clips` does.
    """
    lists = {}
    for split in splits_of(root):
        clips = find_clips(root, split)
        if split == "train":
            lists[f"VID_train_{frames}frames"] = train_lines(clips, frames)
        else:
            lists |= {"VID_val_videos": videos_lines(clips), "VID_val_frames": frames_lines(clips)}
    return lists


def train_lines(clips: Iterable[tuple[str, int]], frames: int = 15) -> list[str]:
    """Lines `<video> 1 <frame> <n>` of a training list."""
    return [f"{video} 1 {frame} {count}" for video, count in clips for frame in sampled_frames(count, frames)]


def videos_lines(clips: Iterable[tuple[str, int]]) -> list[str]:
    """Lines `<video> <first id> 0 <n>` of a test list. Ids number the frames of all clips, from 1."""
    lines = []
    first = 1
    for video, count in clips:
        lines.append(f"{video} {first} 0 {count}")
        first += count
    return lines


def frames_lines(clips: Iterable[tuple[str, int]]) -> list[str]:
    """Lines `<video>/<frame> <id>` of a test list: every frame of the clips with its id, from 1."""
    images = [f"{video}/{frame:06d}" for video, count in clips for frame in range(count)]
    return [f"{image} {number}" for number, image in enumerate(images, 1)]


def balanced_images(index: AnnotationIndex, class_count: int, cap: int, seed: int = 0) -> list[int]:
    """Images (rows of the index, increasing) such that no class occurs in more than `cap` of them.

    Classes are filled from the rarest to the most common, with images in an order given by `seed`. An image that would
    push any of its classes over the cap is left out; no image left out could be added without exceeding the cap.
    """
    rng = np.random.default_rng(seed)
    image_of_row = np.repeat(np.arange(len(index)), np.diff(index.offsets))
    pairs = np.unique(np.stack([image_of_row, index.classes.astype(np.int64) - 1], 1), axis=0)
    holds: dict[int, list[int]] = {}
    for image, number in pairs.tolist():
        holds.setdefault(image, []).append(number)
    taken = np.zeros(class_count, np.int64)
    chosen: set[int] = set()
    for number in np.argsort(np.bincount(pairs[:, 1], minlength=class_count), kind="stable"):
        candidates = pairs[pairs[:, 1] == number, 0]
        for image in rng.permutation(candidates).tolist():
            if taken[number] >= cap:
                break
            if image not in chosen and (taken[holds[image]] < cap).all():
                chosen.add(image)
                taken[holds[image]] += 1
    return sorted(chosen)


def det_lines(root: str | Path, classes: ClassList, cap: int, seed: int = 0, workers: int = 0) -> list[str]:
    """Lines `<image> 1` of a balanced training list from the annotations below Annotations/DET/train.

    Objects of other classes are ignored. Raises InputError if there are no annotations, one of them is broken, or no
    image has an object of the classes.
    """
    annotations = Path(root) / "Annotations" / "DET"
    found: list[str] = []
    for folder, files in walk(annotations / "train"):
        below = folder.relative_to(annotations).as_posix()
        found.extend(f"{below}/{name[:-4]}" for name in files if name.endswith(".xml"))
    if not found:
        raise InputError(f"{annotations / 'train'}: contains no .xml files; add the DET annotations or omit --det")
    images = sorted(found)
    index = build_index(annotations, images, classes, workers=workers, unknown="skip")
    chosen = balanced_images(index, len(classes), cap, seed)
    if not chosen:
        raise InputError(f"{annotations / 'train'}: no object of the {len(classes)} classes; check --classes")
    return [f"{images[image]} 1" for image in chosen]


def write_lists(folder: str | Path, lists: dict[str, list[str]], force: bool = False) -> None:
    """Writes every list as <folder>/<name>.txt.

    Raises InputError, before anything is written, if one exists with different content and `force` is not set.
    """
    contents = {Path(folder) / f"{name}.txt": "".join(f"{line}\n" for line in lists[name]).encode() for name in lists}
    for path, content in contents.items():
        if path.exists() and path.read_bytes() != content and not force:
            raise InputError(f"{path}: already exists with different content; use --force or another --out")
    for path, content in contents.items():
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        log.info("%s: %d lines", path, content.count(b"\n"))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line of `python -m lib.dataset.lists`."""
    parser = Parser(
        prog="python -m lib.dataset.lists",
        description="Creates the list files of a dataset in the ImageNet VID layout: VID_train_<frames>frames.txt from "
        "Data/VID/train, VID_val_videos.txt and VID_val_frames.txt from Data/VID/val and, with --det, "
        "DET_train_<classes>classes.txt from Annotations/DET/train.",
    )
    add = parser.add_argument
    add("--root", type=Path, required=True, help="dataset folder (contains Data and Annotations)")
    add("--out", type=Path, help="folder for the lists (default: ROOT/ImageSets)")
    add("--frames", type=positive, default=15, help="training frames per clip (default: 15)")
    add("--det", action="store_true", help="also create the balanced list of DET images")
    add("--cap", type=positive, default=2000, help="DET: maximum number of images per class (default: 2000)")
    add("--seed", type=whole, default=0, help="DET: random seed for choosing images (default: 0)")
    add("--classes", type=Path, help="class list (default: ROOT/classes.txt, or else the 30 classes of ImageNet VID)")
    add("--workers", type=whole, default=0, help="number of processes that read annotations (default: one per core)")
    add("--force", action="store_true", help="replace existing lists with different content")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see `parse_args`."""
    args = parse_args(argv)
    start_logging()
    if not args.root.is_dir():
        raise InputError(f"{args.root}: no such folder; give the dataset's --root")
    lists = video_lists(args.root, args.frames)
    if not lists and not args.det:
        raise no_splits(args.root)
    if args.det:
        classes = ClassList.of_dataset(args.root, args.classes)
        lines = det_lines(args.root, classes, args.cap, args.seed, args.workers)
        lists[f"DET_train_{len(classes)}classes"] = lines
    write_lists(args.out or args.root / "ImageSets", lists, args.force)


if __name__ == "__main__":
    main()
