"""How a detector behaves at one score: confusion of classes, calibration, tracks, and the videos with most errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.errors import InputError
from lib.eval.kinds import CLASSIFICATION, Errors
from lib.eval.stored import Run

BINS = 10  # of the scores from 0 to 1


@dataclass(frozen=True)
class Calibration:
    """counts (B,) int64: detections in each of B = BINS equal ranges of score; confidence (B,), precision (B,): mean
    score and share of true detections, 0 in an empty range; error: the expected calibration error, the mean difference
    of the two, weighted by counts.
    """

    counts: np.ndarray
    confidence: np.ndarray
    precision: np.ndarray
    error: float


@dataclass(frozen=True)
class Track:
    """One object of a video, numbered by its annotations. found: for each of its frames, whether it was found; frames:
    positions of these frames in the image set; motion: mean motion IoU.
    """

    video: int
    number: int
    label: int
    frames: np.ndarray
    found: np.ndarray
    motion: float

    @property
    def share(self) -> float:
        """Share of its frames in which it is found."""
        return float(self.found.mean())

    @property
    def delay(self) -> int | None:
        """Annotated frames before the first in which it is found; None if it never is."""
        return int(np.argmax(self.found)) if self.found.any() else None

    @property
    def flicker(self) -> int:
        """How often it is lost and found again."""
        return max(int(np.sum(self.found[1:] & ~self.found[:-1])) - (0 if self.found[:1].any() else 1), 0)


@dataclass(frozen=True)
class Clip:
    """Counts of one video at a score: true and false detections, objects that were not found."""

    video: int
    true: int
    false: int
    missed: int

    @property
    def f1(self) -> float:
        """2 true / (2 true + false + missed); 1 if there is nothing to find and nothing was found."""
        total = 2 * self.true + self.false + self.missed
        return 2 * self.true / total if total else 1.0


def chosen(run: Run, score: float) -> np.ndarray:
    """Rows of the detections with at least this score, best first. Raises InputError for a score outside 0..1."""
    if not 0 <= score <= 1:
        raise InputError(f"--score {score}: must be between 0 and 1")
    return run.found.order[run.detections.scores[run.found.order] >= score]


def confusion(run: Run, errors: Errors, score: float) -> np.ndarray:
    """Counts (C + 1, C + 1): rows are classes of objects, the last is background; columns classes of detections, the
    last is missed. A detection of a wrong class is counted against the nearest object, once for each object not found.
    """
    rows, found = chosen(run, score), run.found
    last = len(run.result.classes)
    counts = np.zeros((last + 1, last + 1), np.int64)
    taken = found.found_by(rows)
    hits = rows[found.matched[rows] >= 0]
    np.add.at(counts, (run.truth.classes[found.matched[hits]] - 1, found.classes[hits] - 1), 1)
    rest = rows[found.matched[rows] < 0]
    wrong = rest[errors.kinds[rest] == CLASSIFICATION]
    wrong = wrong[~taken[errors.nearest[wrong]]]
    wrong = wrong[np.sort(np.unique(errors.nearest[wrong], return_index=True)[1])]
    np.add.at(counts, (run.truth.classes[errors.nearest[wrong]] - 1, found.classes[wrong] - 1), 1)
    taken[errors.nearest[wrong]] = True
    np.add.at(counts[last], found.classes[rest[~np.isin(rest, wrong)]] - 1, 1)
    np.add.at(counts[:, last], run.truth.classes[~taken] - 1, 1)
    return counts


def calibration(run: Run) -> Calibration:
    """Reliability of the scores of all detections of the image set. Scores outside 0..1 count in the end ranges."""
    rows = run.found.order
    scores = run.detections.scores[rows]
    places = np.clip((scores * BINS).astype(int), 0, BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    weight = np.maximum(counts, 1)
    confidence = np.bincount(places, scores, BINS) / weight
    precision = np.bincount(places, run.found.matched[rows] >= 0, BINS) / weight
    error = float(np.sum(counts * np.abs(confidence - precision)) / max(len(rows), 1))
    return Calibration(counts, confidence, precision, error)


def tracks(run: Run, score: float) -> list[Track]:
    """The numbered objects of all videos, in the order of videos and numbers; empty without track numbers."""
    truth = run.truth
    taken = run.found.found_by(chosen(run, score))
    frames = np.repeat(np.arange(len(truth.frame_ids)), np.diff(truth.object_starts))
    objects = np.flatnonzero(truth.tracks >= 0)
    keys = np.stack([truth.frame_videos[frames[objects]], truth.tracks[objects]], axis=1)
    names, groups = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(groups.ravel(), kind="stable")
    parts = np.split(objects[order], np.searchsorted(groups.ravel()[order], np.arange(1, len(names))))
    return [
        Track(int(video), int(number), int(truth.classes[part[0]]), frames[part], taken[part],
              float(truth.motion[part].mean()))
        for (video, number), part in zip(names, parts)
    ]  # fmt: skip


def clips(run: Run, score: float) -> list[Clip]:
    """Counts of each video, in the order of the image set."""
    truth, found, rows = run.truth, run.found, chosen(run, score)
    total = len(truth.videos)
    videos = truth.frame_videos[found.frames[rows]]
    hits = found.matched[rows] >= 0
    objects = np.repeat(truth.frame_videos, np.diff(truth.object_starts))
    columns = (
        np.bincount(videos[hits], minlength=total),
        np.bincount(videos[~hits], minlength=total),
        np.bincount(objects[~found.found_by(rows)], minlength=total),
    )
    return [Clip(video, *(int(column[video]) for column in columns)) for video in range(total)]
