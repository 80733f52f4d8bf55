"""Ground truth: annotated objects in the order of the image set, with the motion of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.dataset.classes import ClassList
from lib.dataset.imagenet_vid import AnnotationIndex, build_index
from lib.dataset.lists import form_of_test_list, read_rows
from lib.dataset.motion import load, motion_iou
from lib.errors import InputError


@dataclass(frozen=True)
class Truth:
    """Objects of F frames in list order.

    frame_ids (F,) int64: unique; frame_videos (F,) int32: indices into `videos`, the names in order of appearance;
    object_starts (F + 1,) int64: the objects of frame f are rows object_starts[f]:object_starts[f + 1];
    boxes (M, 4) float64: inclusive pixels; classes (M,) int32 in 1..C; motion (M,) float64 in 0..1;
    tracks (M,) int32: the object's number in its video, -1 for none; sizes (F, 2) int32: width, height of the frames.
    """

    image_ids: list[str]
    frame_ids: np.ndarray
    videos: list[str]
    frame_videos: np.ndarray
    object_starts: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    motion: np.ndarray
    tracks: np.ndarray
    sizes: np.ndarray

    @staticmethod
    def of(index: AnnotationIndex, frame_ids: Sequence[int] | np.ndarray, motion: np.ndarray) -> Truth:
        """Build from an index in list order, the frame ids, and the motion of each object (rows of `index.boxes`).

        Raises ValueError if the lengths differ or an id occurs twice.
        """
        ids = np.asarray(frame_ids, np.int64)
        if len(ids) != len(index.image_ids):
            raise ValueError(f"{len(ids)} frame ids for {len(index.image_ids)} images")
        if len(np.unique(ids)) != len(ids):
            raise ValueError("a frame id occurs twice")
        motion = np.asarray(motion, np.float64)
        if motion.shape != (len(index.classes),):
            raise ValueError(f"motion has shape {motion.shape} for {len(index.classes)} objects")
        videos, frame_videos = videos_of(index.image_ids)
        return Truth(
            list(index.image_ids),
            ids,
            videos,
            frame_videos,
            np.asarray(index.offsets, np.int64),
            np.ascontiguousarray(index.boxes, np.float64),
            np.ascontiguousarray(index.classes, np.int32),
            motion,
            np.asarray(index.tracks, np.int32),
            np.asarray(index.sizes, np.int32),
        )


def videos_of(image_ids: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Videos in order of appearance, and the index of each frame's video (F,) int32. Image ids are <video>/<frame>."""
    numbers: dict[str, int] = {}
    frames = [numbers.setdefault(image_id.rpartition("/")[0], len(numbers)) for image_id in image_ids]
    return list(numbers), np.array(frames, np.int32)


def positions(frame_ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Position of each frame id (N,) in `known` (F,), as int32; -1 for ids that it does not contain."""
    if not len(known):
        return np.full(len(frame_ids), -1, np.int32)
    order = np.argsort(known)
    places = np.searchsorted(known, frame_ids, sorter=order)
    found = order[np.minimum(places, len(known) - 1)].astype(np.int32)
    found[known[found] != frame_ids] = -1
    return found


def read_image_set(path: Path) -> tuple[list[str], np.ndarray]:
    """Image ids and frame ids (F,) int64 of a list file, in its order.

    A line is `<image id> <frame id>`, or `<video> <first frame id> 0 <frames>` for the frames 000000, 000001 ...
    Raises InputError, with file and line, if the file is missing, a line has the wrong number of columns, a value is
    not a number, or an id occurs twice.
    """
    path = Path(path)
    image_ids: list[str] = []
    frame_ids: list[int] = []
    lines: list[int] = []
    for row in read_rows(path, form_of_test_list(path)):
        if len(row.numbers) == 1:
            image_ids.append(row.name)
            frame_ids.append(row.numbers[0])
        else:
            image_ids.extend(f"{row.name}/{frame:06d}" for frame in range(row.numbers[2]))
            frame_ids.extend(range(row.numbers[0], row.numbers[0] + row.numbers[2]))
        lines.extend([row.line] * (len(frame_ids) - len(lines)))
    for what, values in (("frame id", frame_ids), ("image", image_ids)):
        if len(set(values)) < len(values):
            first: dict[object, int] = {}
            for value, line in zip(values, lines):
                if value in first:
                    raise InputError(f"{path}:{line}: {what} {value} is already in line {first[value]}; remove one")
                first[value] = line
    return image_ids, np.array(frame_ids, np.int64)


def load_truth(
    annotations: Path,
    image_set: Path,
    classes: ClassList,
    *,
    motion_file: Path | None = None,
    motion: bool = True,
    cache: Path | None = None,
    workers: int = 0,
    progress: bool = True,
) -> Truth:
    """Load the objects of an image set from the XML files in `annotations`, the folder that image ids are relative to.

    Motion is read from `motion_file` (.mat or .json), or computed from the track ids if there is none. With
    motion=False, for data without track ids, it is 1 for all objects.
    `cache` is a folder under output/ for the parsed annotations, keyed by content. `workers`: number of processes, 0
    for one per core.
    Raises InputError if a list, annotation or motion file is missing or broken, a class is unknown, or the motion file
    is for other frames or has more or fewer values than a frame has objects.
    """
    image_ids, frame_ids = read_image_set(image_set)
    annotations = Path(annotations)
    first = f"{image_ids[0]}.xml"
    if not (annotations / first).is_file() and (annotations / "VID" / first).is_file():
        annotations = annotations / "VID"
    index = build_index(annotations, image_ids, classes, cache=cache, workers=workers, progress=progress)
    if not motion:
        return Truth.of(index, frame_ids, np.ones(len(index.classes)))
    if motion_file is None:
        return Truth.of(index, frame_ids, motion_iou(index))
    frames = load(motion_file, image_ids)
    for image_id, values, count in zip(image_ids, frames, np.diff(index.offsets)):
        if len(values) != count:
            raise InputError(
                f"{motion_file}: {len(values)} motion values for the {count} objects of {image_id}; "
                "pass the file for these annotations, or none to compute motion from the track ids"
            )
    return Truth.of(index, frame_ids, np.concatenate([np.empty(0), *frames]))
