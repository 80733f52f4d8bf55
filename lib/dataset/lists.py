"""List files: reading them, and making them from a dataset folder as the published ones were made.

    python -m lib.dataset.lists --root data/X

The published rule for the training list (FGFA's `VID_train_15frames`): a clip of n <= 15 frames gives all of them, a
longer one the frames floor(j / r - 0.5 / r), r = 15 / n, j = 1..15, in float64: the rounding of `r` shifts a frame in
about one clip in ten, so whole-number arithmetic does not give the same list.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.dataset.classes import ClassList
from lib.dataset.index import AnnotationIndex, build_index
from lib.errors import InputError, command, read_text
from lib.files import replacing

logger = logging.getLogger(__name__)

VID_TRAIN_FORM = "<video> 1 <frame> <frames>"
DET_TRAIN_FORM = "<image> 1"
VIDEOS_FORM = "<video> <id> 0 <frames>"
FRAMES_FORM = "<image> <id>"


@dataclass(frozen=True)
class Row:
    """One line of a list: its number, its first column (a path), the other columns as integers."""

    line: int
    name: str
    numbers: tuple[int, ...]


def read_rows(path: str | Path, form: str) -> list[Row]:
    """Reads a list whose lines look like `form` (say `<video> 1 <frame> <n>`): a path, then integers from 0 on.

    InputError: no such file, nothing in it, a wrong number of columns, a column that is no such integer, with the line.
    """
    path = Path(path)
    columns = len(form.split())
    lines = read_text(path, "put it there, or name another folder or set", "list file cannot be read").splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != columns:
            raise InputError(f"{path}:{number}: {len(fields)} columns instead of {columns}; write `{form}`")
        if not all(field.isascii() and field.isdigit() for field in fields[1:]):
            raise InputError(f"{path}:{number}: only the first column may be text; write `{form}` in whole numbers")
        rows.append(Row(number, fields[0], tuple(map(int, fields[1:]))))
    if not rows:
        raise InputError(f"{path}: an empty list; write `{form}`, one a line")
    return rows


def read_image_ids(path: str | Path) -> list[str]:
    """Image ids of a list of frames (`<image> <id>`) or of videos (`<video> <id> 0 <frames>`), in its order.

    InputError: as `read_rows`.
    """
    form = form_of_test_list(path)
    rows = read_rows(path, form)
    if form == VIDEOS_FORM:
        return [f"{row.name}/{frame:06d}" for row in rows for frame in range(row.numbers[-1])]
    return [row.name for row in rows]


def form_of_test_list(path: str | Path) -> str:
    """VIDEOS_FORM or FRAMES_FORM, by the columns of a test list's first line; FRAMES_FORM for a file that cannot be
    read, of which `read_rows` says what is wrong.
    """
    try:
        with open(path, encoding="utf-8") as file:
            columns = next((len(line.split()) for line in file if line.strip()), 0)
    except (OSError, UnicodeDecodeError):
        columns = 0
    return VIDEOS_FORM if columns == 4 else FRAMES_FORM


def sampled_frames(count: int, frames: int = 15) -> list[int]:
    """Which frames of a clip of `count` a training list takes: at most `frames`, evenly spread, increasing."""
    if frames < 1:
        raise ValueError(f"{frames} frames a clip; at least 1 is needed")
    if count <= frames:
        return list(range(count))
    rate = float(frames) / count
    return [math.floor(step / rate - 0.5 / rate) for step in range(1, frames + 1)]


def find_clips(root: str | Path, split: str) -> list[tuple[str, int]]:
    """(video, number of frames) of every folder with pictures below Data/VID/<split>, sorted by name.

    InputError: no such folder, no clip in it, frames that are not 000000.JPEG, 000001.JPEG ... without a gap.
    """
    data = Path(root) / "Data" / "VID"
    if not (data / split).is_dir():
        raise InputError(f"{data / split}: no such folder; put the clips there or name another --root")
    clips = []
    for folder, _, files in os.walk(data / split, followlinks=True):
        pictures = {name for name in files if name.endswith(".JPEG")}
        if pictures:
            for frame in range(len(pictures)):
                if f"{frame:06d}.JPEG" not in pictures:
                    what = f"{len(pictures)} pictures but no {frame:06d}.JPEG"
                    raise InputError(f"{folder}: {what}; number the frames from 0 without a gap")
            clips.append((Path(folder).relative_to(data).as_posix(), len(pictures)))
    if not clips:
        raise InputError(f"{data / split}: no .JPEG below it; put the clips there")
    return sorted(clips)


def train_lines(clips: Iterable[tuple[str, int]], frames: int = 15) -> list[str]:
    """Lines `<video> 1 <frame> <n>` of a training list."""
    return [f"{video} 1 {frame} {count}" for video, count in clips for frame in sampled_frames(count, frames)]


def videos_lines(clips: Iterable[tuple[str, int]]) -> list[str]:
    """Lines `<video> <first id> 0 <n>` of a test list; ids count frames over all clips, from 1."""
    lines = []
    first = 1
    for video, count in clips:
        lines.append(f"{video} {first} 0 {count}")
        first += count
    return lines


def frames_lines(clips: Iterable[tuple[str, int]]) -> list[str]:
    """Lines `<video>/<frame> <id>`: every frame of the test clips with its id, from 1."""
    images = [f"{video}/{frame:06d}" for video, count in clips for frame in range(count)]
    return [f"{image} {number}" for number, image in enumerate(images, 1)]


def balanced_images(index: AnnotationIndex, class_count: int, cap: int, seed: int = 0) -> list[int]:
    """Images (rows of the index, increasing) such that no class occurs in more than `cap` of them.

    Classes are filled from the rarest to the commonest with images in an order drawn by `seed`; an image that would
    lift any of its classes over the cap is left out. No image that was left out could be added within the cap.
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


def det_lines(
    root: str | Path, classes: ClassList, cap: int, seed: int = 0, workers: int = 0, progress: bool = True
) -> list[str]:
    """Lines `<image> 1` of a balanced training list from the annotations below Annotations/DET/train.

    Objects of other classes are ignored. InputError: no annotations, a broken one, no image with one of the classes.
    """
    annotations = Path(root) / "Annotations" / "DET"
    found = []
    for folder, _, files in os.walk(annotations / "train", followlinks=True):
        below = Path(folder).relative_to(annotations).as_posix()
        found.extend(f"{below}/{name[:-4]}" for name in files if name.endswith(".xml"))
    if not found:
        raise InputError(f"{annotations / 'train'}: no .xml below it; put the DET annotations there or leave out --det")
    images = sorted(found)
    index = build_index(annotations, images, classes, workers=workers, progress=progress, unknown="skip")
    chosen = balanced_images(index, len(classes), cap, seed)
    if not chosen:
        raise InputError(f"{annotations / 'train'}: no object of the {len(classes)} classes; give the right --classes")
    return [f"{images[image]} 1" for image in chosen]


def write_lists(folder: str | Path, lists: dict[str, list[str]], force: bool = False) -> None:
    """Writes every list as <folder>/<name>.txt.

    InputError, before anything is written: one is there with another content and `force` is not set.
    """
    contents = {Path(folder) / f"{name}.txt": "".join(f"{line}\n" for line in lists[name]).encode() for name in lists}
    for path, content in contents.items():
        if path.exists() and path.read_bytes() != content and not force:
            raise InputError(f"{path}: there is such a list, with another content; give --force or another --out")
    for path, content in contents.items():
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        logger.info("%s: %d lines", path, content.count(b"\n"))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line of `python -m lib.dataset.lists`."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.dataset.lists",
        description="Makes the list files of a dataset in ImageNet VID's layout: from Data/VID/train "
        "VID_train_<frames>frames.txt, from Data/VID/val VID_val_videos.txt and VID_val_frames.txt, and with --det, "
        "from Annotations/DET/train, DET_train_<classes>classes.txt.",
    )
    parser.add_argument("--root", type=Path, required=True, help="the dataset's folder (it holds Data and Annotations)")
    parser.add_argument("--out", type=Path, help="folder for the lists (default: ROOT/ImageSets)")
    parser.add_argument("--frames", type=positive, default=15, help="training frames taken of a clip (default: 15)")
    parser.add_argument("--det", action="store_true", help="also make the balanced list of DET images")
    parser.add_argument("--cap", type=positive, default=2000, help="DET: most images a class (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="DET: which images are drawn (default: 0)")
    parser.add_argument(
        "--classes", type=Path, help="class list (default: ROOT/classes.txt, else the 30 of ImageNet VID)"
    )
    parser.add_argument(
        "--workers", type=whole, default=0, help="processes that read annotations (default: one a core)"
    )
    parser.add_argument("--force", action="store_true", help="replace lists that are there with another content")
    return parser.parse_args(argv)


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def whole(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return value


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see `parse_args`."""
    args = parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    lists = {}
    if not args.root.is_dir():
        raise InputError(f"{args.root}: no such folder; give the dataset's --root")
    splits = [split for split in ("train", "val") if (args.root / "Data" / "VID" / split).is_dir()]
    if not splits and not args.det:
        raise InputError(f"{args.root}: neither Data/VID/train nor Data/VID/val in it; give the dataset's --root")
    for split in splits:
        clips = find_clips(args.root, split)
        if split == "train":
            lists[f"VID_train_{args.frames}frames"] = train_lines(clips, args.frames)
        else:
            lists["VID_val_videos"] = videos_lines(clips)
            lists["VID_val_frames"] = frames_lines(clips)
    if args.det:
        classes = ClassList.load(args.classes) if args.classes else ClassList.of_dataset(args.root)
        lines = det_lines(args.root, classes, args.cap, args.seed, args.workers)
        lists[f"DET_train_{len(classes)}classes"] = lines
    write_lists(args.out or args.root / "ImageSets", lists, args.force)


if __name__ == "__main__":
    main()
