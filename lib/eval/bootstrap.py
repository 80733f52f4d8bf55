"""Confidence intervals of mean average precision, by resampling videos with replacement (Efron's bootstrap).

Frames of one video are correlated, so whole videos are sampled. A sample weights each video by how often it was
drawn; average precision is computed from the stored outcomes of the detections, without repeating the matching.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lib.errors import InputError, quoted
from lib.eval.evaluation import Evaluation
from lib.eval.outcomes import mean_over_classes
from lib.machine import cores

MOST_SAMPLES = 1_000_000
FEW_VIDEOS = 5  # with fewer, hardly any two samples differ, and the interval says nothing about other videos


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval, the 2.5th to 97.5th percentile of the samples. All -1.0 without any object.

    videos: number of videos with objects in range; None if not counted.
    """

    value: float
    low: float
    high: float
    videos: int | None = None

    @property
    def of_few_videos(self) -> bool:
        return self.videos is not None and self.videos < FEW_VIDEOS

    def is_significant(self) -> bool:
        """Whether the interval excludes 0; never with few videos."""
        return not self.of_few_videos and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Difference:
    """B - A: mean[motion range] over all classes, and classes[motion range][class], None without objects in range."""

    mean: dict[str, Interval]
    classes: dict[str, dict[str, Interval | None]]


def bootstrap(result: Evaluation, n: int = 1000, seed: int = 0, area: str | None = None) -> dict[str, Interval]:
    """Interval of the mean AP by motion range, from `n` samples, in the area range named `area` (None: the first).

    A class without objects in a sample is left out of the mean of that sample. Raises InputError for an unknown area
    range or n < 1.
    """
    number = _area(result, area)
    means = mean_over_classes(_samples(result, number, n, seed))
    return {
        entry.name: _interval(float(result.mean[r, number]), means[:, r][means[:, r] >= 0])
        for r, entry in enumerate(result.motion_ranges)
    }


def paired_bootstrap(
    first: Evaluation, second: Evaluation, n: int = 1000, seed: int = 0, area: str | None = None
) -> Difference:
    """Interval of second - first on the same samples of videos, so that what is hard for both cancels out.

    Raises InputError if the two were not evaluated on the same objects, classes and ranges, for an unknown area range
    or n < 1.
    """
    _same_task(first, second)
    number = _area(first, area)
    samples = [_samples(result, number, n, seed) for result in (first, second)]
    means = [mean_over_classes(ap) for ap in samples]
    mean, classes = {}, {}
    for r, entry in enumerate(first.motion_ranges):
        there = first.outcomes.video_objects[:, r, number] > 0  # (V, C)
        videos = int(there.any(axis=1).sum())
        found = _difference(first.mean[r, number], second.mean[r, number], *(ap[:, r] for ap in means), videos=videos)
        mean[entry.name] = found or Interval(-1.0, -1.0, -1.0)
        classes[entry.name] = {
            name: _difference(
                first.ap[r, number, c],
                second.ap[r, number, c],
                *(ap[:, r, c] for ap in samples),
                videos=int(there[:, c].sum()),
            )
            for c, name in enumerate(first.classes.names)
        }
    return Difference(mean, classes)


def sample_weights(videos: int, n: int, seed: int) -> Iterator[np.ndarray]:
    """How often each video occurs (V,) in each of n samples of V videos with replacement."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        yield np.bincount(rng.integers(0, videos, videos), minlength=videos).astype(np.float64)


def _samples(result: Evaluation, area: int, n: int, seed: int) -> np.ndarray:
    """AP (n, R, C) of each sample in one area range."""
    if not 1 <= n <= MOST_SAMPLES:
        raise InputError(f"{n} bootstrap samples; give 1 to {MOST_SAMPLES}")
    outcomes = result.outcomes.select(list(range(len(result.motion_ranges))), [area]).counting()
    with ThreadPoolExecutor(cores()) as pool:
        aps = pool.map(outcomes.average_precision, sample_weights(len(outcomes.videos), n, seed))
        return np.stack([ap[:, 0] for ap in aps])


def _area(result: Evaluation, name: str | None) -> int:
    names = [entry.name for entry in result.area_ranges]
    if name is not None and name not in names:
        raise InputError(f"unknown area range {quoted(name)}; choose from {', '.join(names)}")
    return 0 if name is None else names.index(name)


def _interval(value: float, samples: np.ndarray, videos: int | None = None) -> Interval:
    if not len(samples):
        return Interval(value, -1.0, -1.0, videos)
    low, high = np.percentile(samples, [2.5, 97.5])
    return Interval(value, float(low), float(high), videos)


def _difference(first: float, second: float, a: np.ndarray, b: np.ndarray, *, videos: int) -> Interval | None:
    """Interval of second - first from their values in each sample; None if there are no objects."""
    return _interval(float(second - first), (b - a)[a >= 0], videos) if first >= 0 else None


def _same_task(first: Evaluation, second: Evaluation) -> None:
    one, two = first.outcomes, second.outcomes
    for what, equal in (
        ("classes", first.classes.ids == second.classes.ids),
        ("motion ranges", first.motion_ranges == second.motion_ranges),
        ("area ranges", first.area_ranges == second.area_ranges),
        ("videos", one.videos.tolist() == two.videos.tolist()),
        ("objects", np.array_equal(one.video_objects, two.video_objects)),
    ):
        if not equal:
            raise InputError(
                f"the two results differ in their {what}; compare results with the same image set and settings"
            )
