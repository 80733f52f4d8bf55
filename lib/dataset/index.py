"""Parses the annotations of a whole dataset once into a few arrays, with a cache keyed by content."""

from __future__ import annotations

import concurrent.futures.process
import hashlib
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from lib.dataset.annotation import PARSER_VERSION, box_fault, object_line, read_annotation, read_bytes
from lib.dataset.classes import ClassList, did_you_mean
from lib.errors import InputError, quoted
from lib.machine import cores
from lib.reading import load_arrays, save_arrays

log = logging.getLogger(__name__)

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

CHUNK = 500  # files per task: enough to hide the cost of passing it to a worker
PARALLEL_FROM = 2000  # files; with fewer, starting worker processes takes longer than parsing
CLOCK_STEP_NS = 50_000_000  # two writes closer together than this may get the same time stamp


@dataclass(frozen=True)
class AnnotationIndex:
    """Annotations of N images with M objects in total.

    sizes (N, 2) int32 width, height; offsets (N+1,) int64: the objects of image i are rows offsets[i]:offsets[i+1];
    boxes (M, 4) float32 x1 y1 x2 y2 as in the XML; classes (M,) int32 1..C; tracks (M,) int32, -1 for none;
    occluded (M,) bool; generated (M,) bool.
    """

    image_ids: list[str]
    sizes: np.ndarray
    offsets: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    tracks: np.ndarray
    occluded: np.ndarray
    generated: np.ndarray

    def __len__(self) -> int:
        return len(self.image_ids)


ARRAYS = [field.name for field in fields(AnnotationIndex) if field.name != "image_ids"]


def build_index(
    annotations: str | Path,
    image_ids: Sequence[str],
    classes: ClassList,
    *,
    cache: str | Path | None = None,
    workers: int = 0,
    progress: bool = True,
    unknown: str = "error",
) -> AnnotationIndex:
    """Index of the files `annotations`/<image id>.xml, in the order of `image_ids`.

    cache: folder for the parsed index. The key covers the name, size and time stamps of every file, the class list and
    the parser's version, so that changed files are parsed again.
    workers: number of processes, 0 for one per core.
    unknown: "error", or "skip" to leave out objects of classes that are not in the list.
    Raises InputError if a file is missing or broken, a box is inverted or entirely outside the image, or a class is
    unknown.
    """
    if unknown not in ("error", "skip"):
        raise ValueError(f"unknown is {unknown!r}; must be 'error' or 'skip'")
    image_ids = list(image_ids)
    path = None
    if cache is not None:
        path = Path(cache) / f"annotations-{_key(annotations, image_ids, classes, unknown)}.npz"
        arrays = _cached(path)
        if arrays is not None:
            return AnnotationIndex(image_ids, **arrays)
    tasks = [
        (str(annotations), image_ids[start : start + CHUNK], classes.numbers, unknown)
        for start in range(0, len(image_ids), CHUNK)
    ]
    index = joined(_parsed(tasks, len(image_ids), workers, progress))
    if path is not None:
        save_arrays(path, {name: getattr(index, name) for name in ARRAYS})
    return index


def joined(parts: Sequence[AnnotationIndex]) -> AnnotationIndex:
    """Concatenates several indexes."""
    counts = [np.diff(part.offsets) for part in parts]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate([np.zeros(0, np.int64), *counts]))])
    return AnnotationIndex(
        [image_id for part in parts for image_id in part.image_ids],
        np.concatenate([np.zeros((0, 2), np.int32), *(part.sizes for part in parts)]),
        offsets,
        np.concatenate([np.zeros((0, 4), np.float32), *(part.boxes for part in parts)]),
        np.concatenate([np.zeros(0, np.int32), *(part.classes for part in parts)]),
        np.concatenate([np.zeros(0, np.int32), *(part.tracks for part in parts)]),
        np.concatenate([np.zeros(0, bool), *(part.occluded for part in parts)]),
        np.concatenate([np.zeros(0, bool), *(part.generated for part in parts)]),
    )


def parallel(function: Callable[[_Task], _Result], tasks: Sequence[_Task], workers: int) -> Iterator[_Result]:
    """Yields `function(task)` for each task, in order, computed in `workers` processes. The first error stops the rest.

    The processes are spawned: forking hangs if MXNet has started threads in this process.
    """
    context = multiprocessing.get_context("spawn")
    # Ctrl-C ends this process, which then ends the others; they would print a traceback each.
    pool = concurrent.futures.ProcessPoolExecutor(
        min(workers, len(tasks)), context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    )
    try:
        yield from pool.map(function, tasks)
    except concurrent.futures.process.BrokenProcessPool as error:
        raise InputError("a worker process was killed, perhaps for lack of memory; use fewer --workers") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _parsed(tasks: list[tuple], total: int, workers: int, progress: bool) -> list[AnnotationIndex]:
    workers = workers or cores()
    results = map(_parse, tasks) if workers == 1 or total < PARALLEL_FROM else parallel(_parse, tasks, workers)
    parts = []
    with tqdm(total=total, desc="reading annotations", unit=" files", disable=None if progress else True) as bar:
        for part in results:
            parts.append(part)
            bar.update(len(part))
    return parts


def _parse(task: tuple[str, list[str], dict[str, int], str]) -> AnnotationIndex:
    folder, image_ids, numbers, unknown = task
    sizes, counts, boxes, tracks, occluded, generated = [], [], [], [], [], []
    classes: list[int] = []
    for image_id in image_ids:
        path = f"{folder}/{image_id}.xml"
        annotation = read_annotation(path)
        before = len(classes)
        for place, thing in enumerate(annotation.objects):
            number = numbers.get(thing.class_id)
            if number is None and unknown == "skip":
                continue
            fault = box_fault(thing.box, annotation.width, annotation.height)
            if number is None:
                fault = f"unknown class {quoted(thing.class_id)[1:-1]}{did_you_mean(thing.class_id, numbers)}"
            if number is None or fault is not None:
                line = object_line(read_bytes(path), place)
                raise InputError(f"{path}:{line}: {fault}; correct the file or the class list")
            boxes.append(thing.box)
            classes.append(number)
            tracks.append(thing.track)
            occluded.append(thing.occluded)
            generated.append(thing.generated)
        sizes.append((annotation.width, annotation.height))
        counts.append(len(classes) - before)
    return AnnotationIndex(
        image_ids,
        np.array(sizes, np.int32).reshape(-1, 2),
        np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int32),
        np.array(tracks, np.int32),
        np.array(occluded, bool),
        np.array(generated, bool),
    )


def _key(annotations: str | Path, image_ids: list[str], classes: ClassList, unknown: str) -> str:
    """Hash of everything that the index depends on. Waits until the newest time stamp is in the past."""
    folder = str(Path(annotations).resolve())
    stamps = _stamps(folder, image_ids)
    newest = int(stamps[:, 1:].max(initial=0))
    if abs(time.time_ns() - newest) < CLOCK_STEP_NS:
        time.sleep(2 * CLOCK_STEP_NS / 1e9)
        stamps = _stamps(folder, image_ids)
    digest = hashlib.sha256()
    for text in (str(PARSER_VERSION), unknown, folder, "\n".join(classes.ids), "\n".join(image_ids)):
        digest.update(f"{len(text)}:{text}".encode())
    digest.update(stamps.tobytes())
    return digest.hexdigest()[:32]


def _stamps(folder: str, image_ids: list[str]) -> np.ndarray:
    """(N, 3) int64: size, modification time and change time (nanoseconds) of every file."""
    stamps = np.empty((len(image_ids), 3), np.int64)
    for row, image_id in enumerate(image_ids):
        path = f"{folder}/{image_id}.xml"
        try:
            status = os.stat(path)
        except OSError as error:
            raise InputError(f"{path}: no annotation ({error.strerror}); add the file or fix the list") from error
        stamps[row] = status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return stamps


def _cached(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a cache file, or None if it does not exist or is damaged, which is logged."""
    if not path.exists():
        return None
    try:
        arrays = load_arrays(path, "it is recreated")
        return {name: arrays[name] for name in ARRAYS}
    except (InputError, KeyError) as error:
        log.warning("%s: damaged cache (%s); parsing the annotations again", path, error)
        return None
