"""Exports a dataset in the ImageNet VID layout in the formats of annotation tools.

    python -m lib.dataset.export --format cvat --root data/mine --out exported

cvat: OUT/<split>/<video>.xml, `CVAT for video 1.1`. mot: OUT/<split>/<video>, MOTChallenge sequences with gt/gt.txt,
gt/labels.txt and img1, a link to the frames. yolo: OUT/images/<split>/<video>, a link to the frames, OUT/labels with
the same folders, classes.txt, and data.yaml for training with Ultralytics. coco: the file OUT, as export_coco writes.
Read them back with

    python -m lib.dataset.import_cvat --xml exported/val/*.xml --media data/mine/Data/VID/val --out data/again
    python -m lib.dataset.import_mot --media exported/val --out data/again
    python -m lib.dataset.import_yolo --media exported/images --labels exported/labels --names exported/classes.txt ...

cvat and coco keep everything, mot all but the marks of generated boxes, and yolo classes and boxes (and with --tracks
the tracks, in a sixth column, which Ultralytics does not train with).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import yaml

from lib.argument import Parser
from lib.dataset.annotation import NO_TRACK
from lib.dataset.classes import ClassList
from lib.dataset.exporting import coco
from lib.dataset.exporting.clips import ClipTrack, ExportClip, TrackBox
from lib.dataset.exporting.formats import cvat, mot, write_text, write_yolo
from lib.dataset.importing.clips import edges_of
from lib.dataset.index import AnnotationIndex, build_index
from lib.dataset.lists import find_clips, no_splits, splits_of
from lib.errors import InputError, command, counted, start_logging
from lib.files import new_folder

log = logging.getLogger(__name__)

FORMATS = ("cvat", "coco", "mot", "yolo")


def clips_of(root: Path, split: str) -> list[ExportClip]:
    """The videos of a split. Raises InputError for a missing split or annotation, or two videos of one name.

    A video in folders below the split, such as train/a/b, is named a_b. Boxes without a track get one of their own.
    """
    classes = ClassList.of_dataset(root)
    found = []
    for video, count in find_clips(root, split):
        index = build_index(root / "Annotations" / "VID", [f"{video}/{frame:06d}" for frame in range(count)], classes)
        name = video[len(split) + 1 :].replace("/", "_")
        sizes = [(int(width), int(height)) for width, height in index.sizes]
        images = [f"{frame:06d}.JPEG" for frame in range(count)]
        source = video.rpartition("/")[2]
        found.append(ExportClip(name, source, range(count), images, sizes, classes.names, tracks_of(index)))
    names = [clip.name for clip in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{root}: two videos of {split} would both become {twice}; rename one")
    return found


def tracks_of(index: AnnotationIndex) -> list[ClipTrack]:
    """The tracks of one video, whose frames are the images of `index`."""
    boxes: dict[tuple[int, int], list[TrackBox]] = {}
    free = int(index.tracks.max(initial=-1)) + 1
    for place in range(len(index)):
        for row in range(index.offsets[place], index.offsets[place + 1]):
            track = int(index.tracks[row])
            if track == NO_TRACK:
                track, free = free, free + 1
            box = TrackBox(
                place, edges_of(index.boxes[row].tolist()), bool(index.occluded[row]), bool(index.generated[row])
            )
            boxes.setdefault((track, int(index.classes[row])), []).append(box)
    return [ClipTrack(cls, track, group) for (track, cls), group in sorted(boxes.items())]


def export(root: Path, splits: Sequence[str], form: str, out: Path, tracks: bool = False) -> None:
    """Writes the videos of `splits` to `out` in one of FORMATS. tracks: YOLO: write track ids too.

    Raises InputError if `out` exists or anything is missing or broken in the dataset.
    """
    if form == "coco":
        coco.write(root, splits, out)
        return
    if out.exists():
        raise InputError(f"{out}: already exists and is not overwritten; remove it or choose another --out")
    with new_folder(out) as folder:
        count = _write(root, splits, form, folder, tracks)
        if form == "yolo":
            _describe(ClassList.of_dataset(root).names, splits, folder, out)
    log.info("%s: %s", out, counted(count, "video"))


def _write(root: Path, splits: Sequence[str], form: str, out: Path, tracks: bool) -> int:
    """Writes the videos to a new folder. Returns their number."""
    count = 0
    for split in splits:
        for clip, (video, _) in zip(clips_of(root, split), find_clips(root, split)):
            frames = (root / "Data" / "VID" / video).resolve()
            if form == "cvat":
                write_text(out / split / f"{clip.name}.xml", cvat(clip, thinned=False))
            elif form == "mot":
                folder = out / split / clip.name
                write_text(folder / "gt" / "gt.txt", mot(clip))
                write_text(folder / "gt" / "labels.txt", "".join(f"{name}\n" for name in clip.classes))
                (folder / "img1").symlink_to(frames)
            else:
                write_yolo(clip, out / "labels" / split, tracks)
                (out / "images" / split).mkdir(parents=True, exist_ok=True)
                (out / "images" / split / clip.name).symlink_to(frames)
            count += 1
    return count


def _describe(names: Sequence[str], splits: Sequence[str], folder: Path, out: Path) -> None:
    """Writes the class list and data.yaml of a YOLO dataset that will be at `out`."""
    for split in splits:
        (folder / "labels" / split / "classes.txt").unlink()
    write_text(folder / "classes.txt", "".join(f"{name}\n" for name in names))
    content = {
        "path": str(out.resolve()), **{split: f"images/{split}" for split in splits}, "names": dict(enumerate(names))
    }  # fmt: skip
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=2**20)
    write_text(folder / "data.yaml", text)


@command
def main(argv: Sequence[str] | None = None, form: str | None = None) -> None:
    """form: the only format of this command."""
    parser = Parser(
        prog=f"python -m lib.dataset.export{f'_{form}' if form else ''}",
        description=coco.__doc__ if form else __doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    if not form:
        add("--format", choices=FORMATS, required=True, help="format to write")
        add("--tracks", action="store_true", help="yolo: write track ids in a sixth column")
    add("--root", type=Path, required=True, help="dataset folder (contains Data and Annotations)")
    add("--split", choices=("train", "val"), nargs="+", help="splits to export (default: all)")
    add("--out", type=Path, required=True, help="folder to write, or with coco the file; it must not exist")
    args = parser.parse_args(argv, argparse.Namespace(format=form, tracks=False))
    start_logging()
    splits = args.split or splits_of(args.root)
    if not splits:
        raise no_splits(args.root)
    export(args.root, splits, args.format, args.out, args.tracks)


if __name__ == "__main__":
    main()
