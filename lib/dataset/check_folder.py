"""One folder of a dataset (a clip, or a part of DET) looked through for faults."""

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
from lib.errors import InputError


@dataclass(frozen=True)
class FolderTask:
    """What a worker needs to look through Data/<kind>/<name> and Annotations/<kind>/<name> below `root`.

    `annotated`: whether every picture must have an annotation (VID but for its test split, which has none).
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
    """Faults, one line each (`path:line: what`), and counts of what was seen."""

    kind: str
    name: str
    faults: list[str] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)


def check_folder(task: FolderTask) -> FolderReport:
    """Looks through one folder: files, sizes, boxes, classes, numbering, tracks."""
    report = FolderReport(task.kind, task.name)
    data = Path(task.root, "Data", task.kind, task.name)
    annotations = Path(task.root, "Annotations", task.kind, task.name)
    pictures = _stems(data, ".JPEG")
    texts = _stems(annotations, ".xml")
    report.counts.update(images=len(pictures), annotations=len(texts))
    if task.kind == "VID":
        report.faults.extend(_numbering_faults(data, pictures, ".JPEG"))
        if task.annotated:
            report.faults.extend(_numbering_faults(annotations, texts, ".xml"))
    read: dict[str, Annotation] = {}
    for stem in sorted(pictures | texts):
        picture, text = f"{data}/{stem}.JPEG", f"{annotations}/{stem}.xml"
        size = None
        if stem in pictures:
            try:
                size = _picture_size(picture, task.decode)
            except InputError as error:
                report.faults.append(str(error))
        else:
            report.faults.append(f"{text}: no picture {picture}")
        if stem in texts:
            try:
                read[stem] = read_annotation(text)
            except InputError as error:
                report.faults.append(str(error))
            else:
                report.faults.extend(_annotation_faults(task, text, read[stem], size, report.counts))
        elif task.annotated:
            report.faults.append(f"{picture}: no annotation {text}")
    if task.kind == "VID":
        report.faults.extend(_track_faults(task, annotations, read, report.counts))
    return report


def _stems(folder: Path, suffix: str) -> set[str]:
    if not folder.is_dir():
        return set()
    return {name[: -len(suffix)] for name in os.listdir(folder) if name.endswith(suffix)}


def _picture_size(path: str, decode: bool) -> tuple[int, int]:
    width, height = jpeg_size(path)
    if decode:
        decoded = image.read(path).shape[1::-1]
        if decoded != (width, height):
            raise InputError(f"{path}: decodes to {decoded[0]} x {decoded[1]}, its header says {width} x {height}")
    return width, height


def _numbering_faults(folder: Path, stems: set[str], suffix: str) -> Iterator[str]:
    """Frames must be 000000, 000001, ... without a gap."""
    wanted = {f"{frame:06d}" for frame in range(len(stems))}
    missing = sorted(wanted - stems)
    if missing:
        surplus = sorted(stems - wanted)[0]
        yield f"{folder}: {len(stems)} files, but no {missing[0]}{suffix} (instead there is {surplus}{suffix})"


def _annotation_faults(
    task: FolderTask, path: str, annotation: Annotation, size: tuple[int, int] | None, counts: Counter
) -> Iterator[str]:
    width, height = annotation.width, annotation.height
    if size is not None and size != (width, height):
        line = tag_line(read_bytes(path), "size")
        yield f"{path}:{line}: size {width} x {height}, but the picture has {size[0]} x {size[1]}"
    seen: set[int] = set()
    for place, thing in enumerate(annotation.objects):
        known = thing.class_id in task.class_ids
        faults = [box_fault(thing.box, width, height)]
        if task.kind == "VID":
            faults.append(None if known else f"unknown class {thing.class_id}")
            faults.append("no <trackid>" if thing.track == NO_TRACK else None)
            faults.append(f"track {thing.track} stands twice in the frame" if thing.track in seen else None)
            if thing.track != NO_TRACK:
                seen.add(thing.track)
        counts["objects"] += 1
        if task.kind == "DET" and not known:
            counts["of other classes"] += 1
        x1, y1, x2, y2 = thing.box
        if faults[0] is None and (x1 < 0 or y1 < 0 or x2 > width - 1 or y2 > height - 1):
            counts["boxes across the border"] += 1
        for fault in faults:
            if fault is not None:
                yield f"{path}:{object_line(read_bytes(path), place)}: {fault}"


def _track_faults(task: FolderTask, folder: Path, read: dict[str, Annotation], counts: Counter) -> Iterator[str]:
    """A track keeps its class and has a box in every frame (that could be read) from its first to its last.

    An object may be away for a while if it was seen going or coming: marked as occluded, or at the picture's border.
    """
    last: dict[int, tuple[int, Object, bool]] = {}
    stems = {int(stem): stem for stem in sorted(read) if stem.isdigit()}
    for frame, stem in sorted(stems.items()):
        annotation = read[stem]
        for place, thing in enumerate(annotation.objects):
            if thing.track == NO_TRACK:
                continue
            may_go = thing.occluded or _at_border(thing.box, annotation.width, annotation.height)
            before, was, could_go = last.get(thing.track, (frame - 1, thing, True))
            last[thing.track] = frame, thing, may_go
            fault = None
            if was.class_id != thing.class_id:
                fault = f"track {thing.track} was {was.class_id} and is {thing.class_id}"
            elif any(between in stems for between in range(before + 1, frame)):
                counts["gaps in tracks"] += 1
                if not (may_go or could_go or task.allow_gaps):
                    fault = f"track {thing.track} has no box between frames {before:06d} and {frame:06d}"
            if fault is not None:
                path = folder / f"{stem}.xml"
                yield f"{path}:{object_line(read_bytes(path), place)}: {fault}"
    counts["tracks"] += len(last)


def _at_border(box: tuple[float, float, float, float], width: int, height: int) -> bool:
    x1, y1, x2, y2 = box
    return x1 <= 0 or y1 <= 0 or x2 >= width - 1 or y2 >= height - 1
