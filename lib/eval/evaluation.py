"""Mean average precision on ImageNet VID by motion and area (the motion-specific evaluation of FGFA, section 5.1).

A detection matches the object of its class with the largest IoU among those not yet matched by a better detection, if
IoU >= min(0.5, wh / ((w + 10)(h + 10))). Objects outside a motion or area range do not count there, and detections
matched to them are neither true nor false positives. docs/evaluation.md lists all rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import lib.eval._vid_map as _vid_map
from lib.dataset.classes import ClassList
from lib.eval.detections import DetectionTable
from lib.eval.outcomes import Outcomes, mean_over_classes
from lib.eval.ranges import AREA, MOTION, Range, checked
from lib.eval.truth import Truth, positions


@dataclass(frozen=True)
class Evaluation:
    """Average precision for R motion ranges, A area ranges and C classes.

    ap (R, A, C) float64: -1.0 for a class without objects in range; mean (R, A): -1.0 if no class has any;
    objects (R, A, C) int64: number of objects in range; unknown_frames: number of detections that were ignored because
    their frame id is not in the image set.
    """

    classes: ClassList
    motion_ranges: tuple[Range, ...]
    area_ranges: tuple[Range, ...]
    ap: np.ndarray
    mean: np.ndarray
    objects: np.ndarray
    outcomes: Outcomes
    unknown_frames: int


def evaluate(
    detections: DetectionTable,
    truth: Truth,
    classes: ClassList,
    *,
    motion_ranges: Sequence[Range] = MOTION,
    area_ranges: Sequence[Range] = AREA,
    iou: float = 0.5,
) -> Evaluation:
    """Evaluate detections for all motion and area ranges in one pass.

    Detections of equal score keep the order of frames in the image set, then their own order.
    Plain VID AP is the entry of the motion range 0..1 and an area range that contains everything.
    Raises ValueError for a class index outside 1..C, InputError for invalid ranges.
    """
    motion_ranges = checked(motion_ranges, "motion")
    area_ranges = checked(area_ranges, "area")
    for what, numbers in (("detection", detections.classes), ("object", truth.classes)):
        if len(numbers) and not 1 <= numbers.min() <= numbers.max() <= len(classes):
            raise ValueError(f"{what} classes {numbers.min()}..{numbers.max()}, expected 1..{len(classes)}")
    found = match(detections, truth, motion_ranges=motion_ranges, iou=iou)
    unknown = len(detections) - len(found.order)
    outcomes = found.outcomes(detections, truth, classes, motion_ranges, area_ranges)
    ap = outcomes.average_precision()
    objects = outcomes.video_objects.sum(axis=0, dtype=np.int64)
    return Evaluation(classes, motion_ranges, area_ranges, ap, mean_over_classes(ap), objects, outcomes, unknown)


@dataclass(frozen=True)
class Matching:
    """Which detection found which object: N detections, M objects, R motion ranges.

    frames (N,) int32: position of a detection's frame in the image set, -1 if it is not there; order (K,) int32: the
    detections that count, best score first; classes (N,) int32 in 1..C; matched (N,) int32: the object, -1 for none;
    kinds (N, R) uint8 as in `Outcomes`; kept (M, R) bool: whether the motion of an object is in range; counted (M,)
    bool: whether an object counts; thresholds (M,) float64: lowest IoU of a match.
    """

    frames: np.ndarray
    order: np.ndarray
    classes: np.ndarray
    matched: np.ndarray
    kinds: np.ndarray
    kept: np.ndarray
    counted: np.ndarray
    thresholds: np.ndarray

    def found_by(self, rows: np.ndarray) -> np.ndarray:
        """Whether each object (M,) is matched by one of the detections `rows`."""
        found = np.zeros(len(self.counted), bool)
        matched = self.matched[rows]
        found[matched[matched >= 0]] = True
        return found

    def outcomes(
        self,
        detections: DetectionTable,
        truth: Truth,
        classes: ClassList,
        motion_ranges: tuple[Range, ...],
        area_ranges: tuple[Range, ...],
    ) -> Outcomes:
        """The outcomes of the detections that count, with the classes of this matching."""
        starts, order = _group(self.classes - np.int32(1), len(classes), self.order)
        object_areas = _bits(areas_of(truth.boxes), area_ranges)
        areas = _bits(areas_of(detections.boxes[order]), area_ranges)
        hit = self.matched[order] >= 0
        areas[hit] = object_areas[self.matched[order][hit]]
        return Outcomes(
            starts, detections.scores[order], self.kinds[order], areas, self.frames[order],
            *_frame_facts(truth, self.kept),
            *_video_facts(truth, self.kept, self.counted, object_areas, len(classes), motion_ranges, len(area_ranges)),
        )  # fmt: skip


def match(
    detections: DetectionTable, truth: Truth, *, motion_ranges: Sequence[Range] = MOTION, iou: float = 0.5
) -> Matching:
    """Match detections to objects frame by frame, best score first (rule 2 of docs/evaluation.md)."""
    frames = positions(detections.frame_ids, truth.frame_ids)
    starts, order = _group(frames, len(truth.frame_ids), np.arange(len(frames), dtype=np.int32))
    # One stable sort by score; grouping by frame and by class keeps this order.
    order = order[np.argsort(-detections.scores[order], kind="stable")]
    kept = np.stack([entry.holds(truth.motion) for entry in motion_ranges], axis=1)
    widths, heights = (truth.boxes[:, 2:] - truth.boxes[:, :2] + 1).T
    thresholds = np.minimum(iou, widths * heights / ((widths + 10) * (heights + 10)))
    matched = np.full(len(frames), -1, np.int32)
    kinds = np.zeros((len(frames), len(motion_ranges)), np.uint8)
    _vid_map.match(
        _group(frames, len(truth.frame_ids), order)[1], starts, detections.boxes, detections.classes,
        truth.object_starts, truth.boxes, truth.classes, np.ascontiguousarray(kept, np.uint8), thresholds, matched,
        kinds,
    )  # fmt: skip
    return Matching(
        frames, order, detections.classes, matched, kinds, kept, np.ones(len(truth.classes), bool), thresholds
    )


def areas_of(boxes: np.ndarray) -> np.ndarray:
    """Areas (N,) of boxes (N, 4) in inclusive pixels."""
    return (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)


def _group(keys: np.ndarray, count: int, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `order` grouped by key, without those of a negative key: starts (count + 1,), rows. The order is kept."""
    starts = np.zeros(count + 1, np.int64)
    rows = np.empty(len(order), np.int32)
    _vid_map.group(keys, count, order, starts, rows)
    return starts, rows[: starts[-1]]


def _bits(areas: np.ndarray, ranges: tuple[Range, ...]) -> np.ndarray:
    bits = np.zeros(len(areas), np.uint64)
    for number, entry in enumerate(ranges):
        bits |= entry.holds(areas).astype(np.uint64) << np.uint64(number)
    return bits


def _frame_facts(truth: Truth, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """shares (F, R): the fraction of a frame's objects with a motion out of range; frame_videos; videos."""
    sums = np.zeros((len(kept) + 1, kept.shape[1]), np.int64)
    np.cumsum(~kept, axis=0, out=sums[1:])
    ignored = np.diff(sums[truth.object_starts], axis=0)
    counts = np.diff(truth.object_starts)[:, None]
    return ignored / np.maximum(counts, 1), truth.frame_videos, np.array(truth.videos, dtype=np.str_)


def _video_facts(
    truth: Truth,
    kept: np.ndarray,
    counted: np.ndarray,
    object_areas: np.ndarray,
    classes: int,
    motion_ranges: tuple[Range, ...],
    area_count: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """video_objects (V, R, A, C), video_motion (V, R), video_values (V,) as in `Outcomes`."""
    counts = np.diff(truth.object_starts)
    object_videos = np.repeat(truth.frame_videos, counts)
    empty_videos = truth.frame_videos[counts == 0]
    total = len(truth.videos)
    objects = np.zeros((total, kept.shape[1], area_count, classes), np.int32)
    for r in range(kept.shape[1]):
        for a in range(area_count):
            rows = counted & kept[:, r] & ((object_areas >> np.uint64(a)) & np.uint64(1) == 1)
            np.add.at(objects[:, r, a], (object_videos[rows], truth.classes[rows] - 1), 1)
    empty = np.bincount(empty_videos, minlength=total)
    motion = np.stack(
        [
            np.bincount(object_videos[kept[:, r]], minlength=total) + empty * (entry.low <= 0 <= entry.high)
            for r, entry in enumerate(motion_ranges)
        ],
        axis=1,
    )
    return objects, motion, np.bincount(object_videos, minlength=total) + empty
