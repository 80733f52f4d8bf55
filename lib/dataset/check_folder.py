"""Checks one folder of a dataset: a VID clip or a part of DET."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lib.dataset import image
from lib.dataset.annotation import (
    NO_TRACK,
    Annotation,
    Object,
    box_fault,
    object_line,
    read_annotation,
    read_bytes,
    tag_line,
)
from lib.dataset.jpeg import jpeg_size
from lib.errors import InputError, quoted


@dataclass(frozen=True)
class FolderTask:
    """What a worker needs to check Data/<kind>/<name> and Annotations/<kind>/<name> below `root`.

    annotated: whether every image must have an annotation (true for VID, except for its test split).
    """

    root: str
    kind: str
    name: str
    class_ids: frozenset[str]
    annotated: bool
    decode: bool
    allow_gaps: bool


@dataclass
class FolderReport:
    """Faults, one line each (`path:line: what`), and counts of images, annotations, objects and so on."""

    kind: str
    name: str
    faults: list[str] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)


def check_folder(task: FolderTask) -> FolderReport:
    """Checks files, sizes, boxes, classes, numbering and tracks of one folder."""
    report = FolderReport(task.kind, task.name)
    data = Path(task.root, "Data", task.kind, task.name)
    annotations = Path(task.root, "Annotations", task.kind, task.name)
    images = _stems(data, ".JPEG")
    texts = _stems(annotations, ".xml")
    report.counts.update(images=len(images), annotations=len(texts))
    if task.kind == "VID":
        report.faults.extend(_numbering_faults(data, images, ".JPEG"))
        if task.annotated:
            report.faults.extend(_numbering_faults(annotations, texts, ".xml"))
    read: dict[str, Annotation] = {}
    for stem in sorted(images | texts):
        path, text = f"{data}/{stem}.JPEG", f"{annotations}/{stem}.xml"
        size = None
        if stem in images:
            try:
                size = _image_size(path, task.decode)
            except InputError as error:
                report.faults.append(str(error))
        else:
            report.faults.append(f"{text}: no image {path}")
        if stem in texts:
            try:
                read[stem] = read_annotation(text)
            except InputError as error:
                report.faults.append(str(error))
            else:
                report.faults.extend(_annotation_faults(task, text, read[stem], size, report.counts))
        elif task.annotated:
            report.faults.append(f"{path}: no annotation {text}")
    if task.kind == "VID":
        report.faults.extend(_track_faults(task, annotations, read, report.counts))
    return report


def _stems(folder: Path, suffix: str) -> set[str]:
    if not folder.is_dir():
        return set()
    return {name[: -len(suffix)] for name in os.listdir(folder) if name.endswith(suffix)}


def _image_size(path: str, decode: bool) -> tuple[int, int]:
    width, height = jpeg_size(path)
    if decode:
        decoded = image.read(path).shape[1::-1]
        if decoded != (width, height):
            raise InputError(f"{path}: decodes to {decoded[0]} x {decoded[1]}, but its header says {width} x {height}")
    return width, height


def _numbering_faults(folder: Path, stems: set[str], suffix: str) -> Iterator[str]:
    """Frames must be numbered 000000, 000001, ... without gaps."""
    wanted = {f"{frame:06d}" for frame in range(len(stems))}
    missing = sorted(wanted - stems)
    if missing:
        yield f"{folder}: {missing[0]}{suffix} is missing ({len(stems)} files, the last is {max(stems)}{suffix})"


def _annotation_faults(
    task: FolderTask, path: str, annotation: Annotation, size: tuple[int, int] | None, counts: Counter
) -> Iterator[str]:
    width, height = annotation.width, annotation.height
    if size is not None and size != (width, height):
        line = tag_line(read_bytes(path), "size")
        yield f"{path}:{line}: size is {width} x {height}, but the image is {size[0]} x {size[1]}"
    seen: set[int] = set()
    for place, thing in enumerate(annotation.objects):
        known = thing.class_id in task.class_ids
        faults = [box_fault(thing.box, width, height)]
        if task.kind == "VID":
            faults.append(None if known else f"unknown class {quoted(thing.class_id)[1:-1]}")
            faults.append("no <trackid>" if thing.track == NO_TRACK else None)
            faults.append(f"track {thing.track} occurs twice in the frame" if thing.track in seen else None)
            if thing.track != NO_TRACK:
                seen.add(thing.track)
        counts["objects"] += 1
        if task.kind == "DET" and not known:
            counts["of other classes"] += 1
        x1, y1, x2, y2 = thing.box
        if faults[0] is None and (x1 < 0 or y1 < 0 or x2 > width - 1 or y2 > height - 1):
            counts["boxes crossing the border"] += 1
        for fault in faults:
            if fault is not None:
                yield f"{path}:{object_line(read_bytes(path), place)}: {fault}"


def _track_faults(task: FolderTask, folder: Path, read: dict[str, Annotation], counts: Counter) -> Iterator[str]:
    """A track must keep its class and have a box in every readable frame from its first to its last.

    A gap is allowed if, just before or after it, the object is marked as occluded or touches the image border.
    """
    last: dict[int, tuple[int, int, Object, bool]] = {}  # by track: position, frame, ...
    stems = {int(stem): stem for stem in sorted(read) if stem.isascii() and stem.isdigit()}
    for position, (frame, stem) in enumerate(sorted(stems.items())):
        annotation = read[stem]
        for place, thing in enumerate(annotation.objects):
            if thing.track == NO_TRACK:
                continue
            gap_allowed = thing.occluded or _at_border(thing.box, annotation.width, annotation.height)
            at, before, previous, gap_was_allowed = last.get(thing.track, (position - 1, frame - 1, thing, True))
            last[thing.track] = position, frame, thing, gap_allowed
            fault = None
            if previous.class_id != thing.class_id:
                fault = f"track {thing.track} changes from class {previous.class_id} to {thing.class_id}"
            elif position - at > 1:
                counts["gaps in tracks"] += 1
                if not (gap_allowed or gap_was_allowed or task.allow_gaps):
                    fault = f"track {thing.track} has no box between frames {before:06d} and {frame:06d}"
            if fault is not None:
                path = folder / f"{stem}.xml"
                yield f"{path}:{object_line(read_bytes(path), place)}: {fault}"
    counts["tracks"] += len(last)


def _at_border(box: tuple[float, float, float, float], width: int, height: int) -> bool:
    x1, y1, x2, y2 = box
    return x1 <= 0 or y1 <= 0 or x2 >= width - 1 or y2 >= height - 1
