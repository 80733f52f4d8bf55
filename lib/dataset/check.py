"""Goes through a dataset and says everything that is wrong with it.

    python -m lib.dataset.check --root data/X

Exit status 0: clean, 1: faults, 2: nothing that could be checked. Pictures are opened for their headers alone unless
--decode is given. Legal, and only counted: a box that crosses the border of its picture (ILSVRC has them, training
clips them); objects of other classes in DET, which marks 200; a gap in a track on one side of which the object is
marked as occluded or stands at the border.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from lib.dataset.check_folder import FolderTask, check_folder
from lib.dataset.classes import ClassList
from lib.dataset.index import parallel, process_count
from lib.dataset.lists import (
    DET_TRAIN_FORM,
    FRAMES_FORM,
    VID_TRAIN_FORM,
    VIDEOS_FORM,
    frames_lines,
    read_rows,
    whole,
)
from lib.errors import InputError, command

KINDS = ("VID", "DET")
ALONE = 4000  # fewer files than this are looked through in this process


def find_folders(root: str | Path, kind: str) -> dict[str, int]:
    """Folders with pictures or annotations of a kind, relative to Data/<kind>, with their number of files."""
    found: Counter = Counter()
    for part, suffix in (("Data", ".JPEG"), ("Annotations", ".xml")):
        top = Path(root) / part / kind
        for folder, _, files in os.walk(top, followlinks=True):
            count = sum(name.endswith(suffix) for name in files)
            if count:
                found[Path(folder).relative_to(top).as_posix()] += count
    return dict(sorted(found.items()))


def list_faults(root: str | Path, clips: dict[str, int]) -> Iterator[str]:
    """Faults of ImageSets/{VID,DET}_*.txt; `clips`: number of pictures of every folder below Data/VID."""
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
                yield from _frames_list_faults(path, rows, clips)
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
            yield f"{path}:{line}: {name}videos.txt lists other frames from here on"


def list_files(root: str | Path) -> list[Path]:
    """The list files of a dataset that are checked."""
    return sorted(path for kind in KINDS for path in (Path(root) / "ImageSets").glob(f"{kind}_*.txt"))


def _det_list_faults(path: Path, folder: Path) -> Iterator[str]:
    for row in read_rows(path, DET_TRAIN_FORM):
        if not (folder / f"{row.name}.JPEG").exists():
            yield f"{path}:{row.line}: no picture {folder / row.name}.JPEG"


def _train_list_faults(path: Path, rows: Iterable, clips: dict[str, int]) -> Iterator[str]:
    seen: dict[tuple[str, int], int] = {}
    told: set[str] = set()  # a clip stands in many lines; its faults are the same in each
    for row in rows:
        _, frame, count = row.numbers
        there = clips.get(row.name, 0)
        if count != there and row.name not in told:
            told.add(row.name)
            yield f"{path}:{row.line}: {row.name} has {there} pictures, not {count}"
        if frame >= count:
            yield f"{path}:{row.line}: frame {frame} of a clip of {count}; frames count from 0"
        first = seen.setdefault((row.name, frame), row.line)
        if first != row.line:
            yield f"{path}:{row.line}: the same frame as in line {first}"


def _videos_list_faults(path: Path, rows: Iterable, clips: dict[str, int]) -> Iterator[str]:
    due = 1
    seen: dict[str, int] = {}
    for row in rows:
        first_id, _, count = row.numbers
        there = clips.get(row.name, 0)
        if count != there:
            yield f"{path}:{row.line}: {row.name} has {there} pictures, not {count}"
        if first_id != due:
            yield f"{path}:{row.line}: first id {first_id}, but {due} is the next one due"
        due = first_id + count
        first = seen.setdefault(row.name, row.line)
        if first != row.line:
            yield f"{path}:{row.line}: the same video as in line {first}"


def _frames_list_faults(path: Path, rows: Iterable, clips: dict[str, int]) -> Iterator[str]:
    due = 1
    for row in rows:
        video, _, frame = row.name.rpartition("/")
        if not (frame.isdigit() and len(frame) == 6 and int(frame) < clips.get(video, 0)):
            yield f"{path}:{row.line}: no picture {row.name}.JPEG"
        if row.numbers[0] != due:
            yield f"{path}:{row.line}: id {row.numbers[0]}, but {due} is the next one due"
        due = row.numbers[0] + 1


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line of `python -m lib.dataset.check`."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.dataset.check",
        description="Looks through a dataset in ImageNet VID's layout: files there and readable, sizes equal to the "
        "XML's, boxes, classes, tracks, frame numbers and lists. Every fault is printed with its file and line. "
        "Exit status 0: clean, 1: faults, 2: nothing to check.",
    )
    add = parser.add_argument
    add("--root", type=Path, required=True, help="the dataset's folder (it holds Data, Annotations and ImageSets)")
    add("--classes", type=Path, help="class list (default: ROOT/classes.txt, else the 30 of ImageNet VID)")
    add("--decode", action="store_true", help="also decode every picture (slow; else only headers and ends are read)")
    add("--allow-gaps", action="store_true", help="any track may leave frames out")
    add("--workers", type=whole, default=0, help="processes (default: one a core)")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see `parse_args`."""
    args = parse_args(argv)
    start = time.monotonic()
    root: Path = args.root
    classes = ClassList.load(args.classes) if args.classes else ClassList.of_dataset(root)
    folders = {kind: find_folders(root, kind) for kind in KINDS}
    total = sum(sum(counts.values()) for counts in folders.values())
    if total == 0:
        raise InputError(f"{root}: neither pictures nor annotations below it; give a folder with Data and Annotations")
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
    workers = process_count(args.workers)
    alone = workers == 1 or len(tasks) == 1 or (total < ALONE and not args.decode)
    counts = {kind: Counter(folders=len(folders[kind])) for kind in KINDS}
    clips: dict[str, int] = {}
    faults = 0
    with tqdm(total=total, desc="checking", unit=" files", disable=None) as bar:
        for report in map(check_folder, tasks) if alone else parallel(check_folder, tasks, workers):
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
    sys.stdout.write(f"{faults} faults in {total} files; {seconds:.1f} s, {total / seconds:.0f} files a second\n")
    if faults:
        sys.exit(1)


if __name__ == "__main__":
    main()
