"""Checks a dataset and reports every fault.

    python -m lib.dataset.check --root data/X

Exit status 0: no faults, 1: faults, 2: nothing to check. Only the headers and ends of image files are read unless
--decode is given. The following are allowed and only counted: boxes that cross the image border (ILSVRC has them, and
training clips them); objects of other classes in DET, which annotates 200; gaps in a track where the object is marked
as occluded, or touches the border, just before or after the gap.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from lib.argument import Parser, whole
from lib.dataset.check_folder import FolderTask, check_folder
from lib.dataset.classes import ClassList
from lib.dataset.index import parallel
from lib.dataset.lists import (
    DET_TRAIN_FORM,
    FRAMES_FORM,
    VID_TRAIN_FORM,
    VIDEOS_FORM,
    frames_lines,
    read_rows,
)
from lib.errors import InputError, command, counted
from lib.machine import cores
from lib.reading import walk

KINDS = ("VID", "DET")
PARALLEL_FROM = 4000  # files; with fewer, starting worker processes takes longer than the check


def find_folders(root: str | Path, kind: str) -> dict[str, int]:
    """Number of images and annotations in each folder of a kind, by the folder's path relative to Data/<kind>."""
    found: Counter = Counter()
    for part, suffix in (("Data", ".JPEG"), ("Annotations", ".xml")):
        top = Path(root) / part / kind
        for folder, files in walk(top):
            count = sum(name.endswith(suffix) for name in files)
            if count:
                found[folder.relative_to(top).as_posix()] += count
    return dict(sorted(found.items()))


def list_faults(root: str | Path, clips: dict[str, int]) -> Iterator[str]:
    """Faults of ImageSets/{VID,DET}_*.txt. clips: number of images of every folder below Data/VID."""
    videos: dict[str, list[tuple[str, int]]] = {}
    frames: dict[str, list[str]] = {}
    for path in list_files(root):
        try:
            if path.stem.startswith("DET_"):
                yield from _det_list_faults(path, Path(root) / "Data" / "DET")
            elif path.stem.endswith("videos"):
                rows = read_rows(path, VIDEOS_FORM)
                videos[path.stem[: -len("videos")]] = [(row.name, row.numbers[2]) for row in rows]
                yield from _videos_list_faults(path, rows, clips)
            elif path.stem.endswith("_frames"):
                rows = read_rows(path, FRAMES_FORM)
                frames[path.stem[: -len("frames")]] = [f"{row.name} {row.numbers[0]}" for row in rows]
                yield from _frames_list_faults(path, rows, Path(root) / "Data" / "VID")
            else:
                yield from _train_list_faults(path, read_rows(path, VID_TRAIN_FORM), clips)
        except InputError as error:
            yield str(error)
    for name in sorted(videos.keys() & frames.keys()):
        wanted = frames_lines(videos[name])
        if frames[name] != wanted:
            path = Path(root) / "ImageSets" / f"{name}frames.txt"
            pairs = enumerate(zip(frames[name], wanted), 1)
            line = next((line for line, (one, other) in pairs if one != other), min(len(frames[name]), len(wanted)) + 1)
            yield f"{path}:{line}: from here on, differs from the frames in {name}videos.txt"


def list_files(root: str | Path) -> list[Path]:
    """The list files of a dataset."""
    return sorted(path for kind in KINDS for path in (Path(root) / "ImageSets").glob(f"{kind}_*.txt"))


def _det_list_faults(path: Path, folder: Path) -> Iterator[str]:
    for row in read_rows(path, DET_TRAIN_FORM):
        if not (folder / f"{row.name}.JPEG").exists():
            yield f"{path}:{row.line}: no image {folder / row.name}.JPEG"


def _train_list_faults(path: Path, rows: Iterable, clips: dict[str, int]) -> Iterator[str]:
    seen: dict[tuple[str, int], int] = {}
    reported: set[str] = set()  # a clip has many lines, and a wrong count is the same in each
    for row in rows:
        _, frame, count = row.numbers
        there = clips.get(row.name, 0)
        if count != there and row.name not in reported:
            reported.add(row.name)
            yield f"{path}:{row.line}: {row.name} has {there} images, not {count}"
        if frame >= count:
            yield f"{path}:{row.line}: no frame {frame} in a clip of {count} frames (they count from 0)"
        first = seen.setdefault((row.name, frame), row.line)
        if first != row.line:
            yield f"{path}:{row.line}: same frame as line {first}"


def _videos_list_faults(path: Path, rows: Iterable, clips: dict[str, int]) -> Iterator[str]:
    due = 1
    seen: dict[str, int] = {}
    for row in rows:
        first_id, _, count = row.numbers
        there = clips.get(row.name, 0)
        if count != there:
            yield f"{path}:{row.line}: {row.name} has {there} images, not {count}"
        if first_id != due:
            yield f"{path}:{row.line}: first id is {first_id}, expected {due}"
        due = first_id + count
        first = seen.setdefault(row.name, row.line)
        if first != row.line:
            yield f"{path}:{row.line}: same video as line {first}"


def _frames_list_faults(path: Path, rows: Iterable, folder: Path) -> Iterator[str]:
    due = 1
    for video, frames in itertools.groupby(rows, key=lambda row: row.name.rpartition("/")[0]):
        there = {file.name for file in (folder / video).glob("*.JPEG")}  # one listing is faster than a test of each
        for row in frames:
            image = f"{row.name}.JPEG"
            if image.rpartition("/")[2] not in there:
                yield f"{path}:{row.line}: no image {image}"
            if row.numbers[0] != due:
                yield f"{path}:{row.line}: id is {row.numbers[0]}, expected {due}"
            due = row.numbers[0] + 1


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line of `python -m lib.dataset.check`."""
    parser = Parser(
        prog="python -m lib.dataset.check",
        description="Checks a dataset in the ImageNet VID layout: missing and unreadable files, image sizes, boxes, "
        "classes, tracks, frame numbers and lists. Prints every fault with its file and line. "
        "Exit status 0: no faults, 1: faults, 2: nothing to check.",
    )
    add = parser.add_argument
    add("--root", type=Path, required=True, help="dataset folder (contains Data, Annotations and ImageSets)")
    add("--classes", type=Path, help="class list (default: ROOT/classes.txt, or else the 30 classes of ImageNet VID)")
    add("--decode", action="store_true", help="also decode every image (slow; by default only header and end are read)")
    add("--allow-gaps", action="store_true", help="allow any gap in a track")
    add("--workers", type=whole, default=0, help="number of processes (default: one per core)")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see `parse_args`."""
    args = parse_args(argv)
    start = time.monotonic()
    root: Path = args.root
    classes = ClassList.of_dataset(root, args.classes)
    folders = {kind: find_folders(root, kind) for kind in KINDS}
    total = sum(sum(counts.values()) for counts in folders.values())
    if total == 0:
        raise InputError(f"{root}: contains neither images nor annotations; give a folder with Data and Annotations")
    tasks = [
        FolderTask(
            str(root),
            kind,
            name,
            frozenset(classes.ids),
            kind == "VID" and name.split("/")[0] != "test",
            args.decode,
            args.allow_gaps,
        )
        for kind in KINDS
        for name in folders[kind]
    ]
    workers = args.workers or cores()
    single = workers == 1 or len(tasks) == 1 or (total < PARALLEL_FROM and not args.decode)
    counts = {kind: Counter(folders=len(folders[kind])) for kind in KINDS}
    clips: dict[str, int] = {}
    faults = 0
    with tqdm(total=total, desc="checking", unit=" files", disable=None) as bar:
        for report in map(check_folder, tasks) if single else parallel(check_folder, tasks, workers):
            for fault in report.faults:
                bar.write(fault, file=sys.stdout)
            faults += len(report.faults)
            counts[report.kind].update(report.counts)
            if report.kind == "VID":
                clips[report.name] = report.counts["images"]
            bar.update(folders[report.kind][report.name])
    for fault in list_faults(root, clips):
        faults += 1
        sys.stdout.write(f"{fault}\n")
    for kind in KINDS:
        if counts[kind]["folders"]:
            sys.stdout.write(f"{kind}: " + ", ".join(f"{n} {what}" for what, n in counts[kind].items() if n) + "\n")
    seconds = time.monotonic() - start
    sys.stdout.write(f"lists: {len(list_files(root))}\n")
    sys.stdout.write(
        f"{counted(faults, 'fault')} in {counted(total, 'file')}; {seconds:.1f} s, {total / seconds:.0f} files/s\n"
    )
    if faults:
        sys.exit(1)


if __name__ == "__main__":
    main()
