"""Kinds of errors and what each costs, after TIDE (Bolya et al., ECCV 2020), on the matches of our evaluation.

An unmatched detection has one kind, the first that applies; t is the lowest IoU at which an object counts as found,
which is lower than 0.5 for small objects (rule 2 of docs/evaluation.md):

- localisation: the nearest object of its class has an IoU of at least 0.1 and less than t;
- classification: the nearest object of another class has an IoU of at least t;
- duplicate: an object of its class has an IoU of at least t, but a better detection has found it;
- background: no object has an IoU above 0.1;
- both: wrong class and badly placed, which is all that remains.

An object is missed if neither it was found nor is it the nearest object of a localisation or classification error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lib.bbox.pairwise import pairwise_iou
from lib.eval.evaluation import Matching
from lib.eval.outcomes import NOTHING, TRUE, mean_over_classes
from lib.eval.stored import Run

CORRECT = 0
KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND, MISSED = range(1, 7)
BACKGROUND_IOU = 0.1


@dataclass(frozen=True)
class Errors:
    """kinds (N,) uint8: CORRECT or one of the constants above for each detection; nearest (N,) int32: the object that a
    classification or localisation error is about, else -1; missed (M,) bool for each object.
    """

    kinds: np.ndarray
    nearest: np.ndarray
    missed: np.ndarray


def find_errors(run: Run) -> Errors:
    """The kind of error of every detection, and the missed objects."""
    truth, found = run.truth, run.found
    kinds = np.zeros(len(run.detections), np.uint8)
    nearest = np.full(len(kinds), -1, np.int32)
    rows = found.order[found.matched[found.order] < 0]
    frames = found.frames[rows]
    counts = np.diff(truth.object_starts)[frames]
    kinds[rows] = BACKGROUND  # so it is in a frame without objects
    rows, frames, counts = rows[counts > 0], frames[counts > 0], counts[counts > 0]
    taken = found.found_by(found.order)
    if len(rows):
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        objects = np.arange(counts.sum()) - np.repeat(starts - truth.object_starts[frames], counts)
        ious = pairwise_iou(np.repeat(run.detections.boxes[rows], counts, axis=0), truth.boxes[objects])
        same = np.repeat(found.classes[rows], counts) == truth.classes[objects]
        own, own_iou = _largest(np.where(same, ious, -1), objects, starts, counts)
        other, other_iou = _largest(np.where(same, -1, ious), objects, starts, counts)
        enough = ious >= found.thresholds[objects]
        double = np.logical_or.reduceat(same & taken[objects] & enough, starts)
        conditions = [
            (own_iou >= BACKGROUND_IOU) & (own_iou < found.thresholds[own]),
            other_iou >= found.thresholds[other],
            double,
            np.maximum(own_iou, other_iou) <= BACKGROUND_IOU,
        ]
        kinds[rows] = np.select(conditions, [LOCALISATION, CLASSIFICATION, DUPLICATE, BACKGROUND], BOTH)
        nearest[rows] = np.select(conditions[:2], [own, other], -1)
    missed = ~taken
    missed[nearest[nearest >= 0]] = False
    return Errors(kinds, nearest, missed)


def gains(run: Run, errors: Errors) -> tuple[np.ndarray, np.ndarray]:
    """What fixing each kind of error would add to average precision: by class (6, R, A, C), and to the mean (6, R, A).

    Fixing removes duplicates, background detections and errors of both kinds. The best of all classification and
    localisation errors about an object that was not found becomes true if it is of this kind; the others of this kind
    are removed. Missed objects no longer count.
    0 where a class has no objects in range. Each kind is fixed alone, so the gains do not add up to what is missing.
    """
    before = _average_precision(run, run.found)
    known = before >= 0
    by_class, means = [], []
    for kind in range(1, len(KINDS) + 1):
        after = _average_precision(run, fixed(run, errors, kind))
        # Without missed objects a class may have none left, and then it has no error left either.
        after = np.where(known & (after < 0), 1.0, after)
        by_class.append(np.where(known, after - before, 0.0))
        means.append(np.where(known.any(axis=-1), mean_over_classes(after) - mean_over_classes(before), 0.0))
    return np.stack(by_class), np.stack(means)


def fixed(run: Run, errors: Errors, kind: int) -> Matching:
    """The matching after all errors of one kind are fixed (see `gains`)."""
    found = run.found
    if kind == MISSED:
        return replace(found, counted=found.counted & ~errors.missed)
    wrong = errors.kinds == kind
    if kind not in (CLASSIFICATION, LOCALISATION):
        return replace(found, order=found.order[~wrong[found.order]])
    candidates = found.order[errors.nearest[found.order] >= 0]
    candidates = candidates[~found.found_by(found.order)[errors.nearest[candidates]]]
    best = candidates[np.unique(errors.nearest[candidates], return_index=True)[1]]  # the order is by score
    best = best[wrong[best]]  # an object with a better error of the other kind is left to that, as in tidecv
    target = errors.nearest[best]
    matched, classes, kinds = found.matched.copy(), found.classes.copy(), found.kinds.copy()
    matched[best], classes[best] = target, run.truth.classes[target]
    kinds[best] = np.where(found.kept[target], TRUE, NOTHING)
    wrong[best] = False
    return replace(found, order=found.order[~wrong[found.order]], matched=matched, classes=classes, kinds=kinds)


def _average_precision(run: Run, found: Matching) -> np.ndarray:
    result = run.result
    outcomes = found.outcomes(run.detections, run.truth, result.classes, result.motion_ranges, result.area_ranges)
    return outcomes.average_precision()


def _largest(
    values: np.ndarray, objects: np.ndarray, starts: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The object with the largest value of each segment, the first on a tie, and that value."""
    most = np.maximum.reduceat(values, starts)
    places = np.where(values == np.repeat(most, counts), np.arange(len(values)), len(values))
    return objects[np.minimum.reduceat(places, starts)], most
