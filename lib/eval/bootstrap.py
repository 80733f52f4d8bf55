"""How sure a mean average precision is: videos are drawn again and again with replacement (Efron's bootstrap).

Frames of one video are alike, so whole videos are drawn. A draw weighs each video by how often it came; average
precision is then computed from the outcomes of the detections, without matching anything again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lib.errors import InputError
from lib.eval.evaluation import Evaluation
from lib.eval.outcomes import Outcomes, mean_over_classes


@dataclass(frozen=True)
class Interval:
    """A figure with the 95 % interval of its draws, 2.5th to 97.5th percentile; -1.0 each where there is no object."""

    value: float
    low: float
    high: float

    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Difference:
    """B - A: of the mean over classes by motion range name, and for each class by range name, then class name.

    None for a class without objects in the range.
    """

    mean: dict[str, Interval]
    classes: dict[str, dict[str, Interval | None]]


def bootstrap(result: Evaluation, n: int = 1000, seed: int = 0, area: str | None = None) -> dict[str, Interval]:
    """Interval of the mean AP by motion range name, in the area range of that name (None: the first).

    A class that has no object in a draw is left out of that draw's mean.
    """
    number = _area(result, area)
    ap = _draws(_small(result, number), n, seed)
    means = mean_over_classes(ap)
    return {
        entry.name: _interval(float(result.mean[r, number]), means[:, r][means[:, r] >= 0])
        for r, entry in enumerate(result.motion_ranges)
    }


def paired_bootstrap(
    first: Evaluation, second: Evaluation, n: int = 1000, seed: int = 0, area: str | None = None
) -> Difference:
    """Interval of second - first, both on the same draws of videos, so that what is hard for both cancels.

    Raises InputError where the two were not evaluated on the same objects, classes and ranges.
    """
    _same_task(first, second)
    number = _area(first, area)
    draws = [_draws(_small(result, number), n, seed) for result in (first, second)]
    means = [mean_over_classes(ap) for ap in draws]
    mean, classes = {}, {}
    for r, entry in enumerate(first.motion_ranges):
        whole = means[0][:, r] >= 0
        value = float(second.mean[r, number] - first.mean[r, number])
        known = first.mean[r, number] >= 0
        mean[entry.name] = _interval(value if known else -1.0, (means[1] - means[0])[whole, r])
        classes[entry.name] = {}
        for c, name in enumerate(first.classes.names):
            there = draws[0][:, r, c] >= 0
            value = float(second.ap[r, number, c] - first.ap[r, number, c])
            known = first.ap[r, number, c] >= 0
            classes[entry.name][name] = _interval(value, (draws[1] - draws[0])[there, r, c]) if known else None
    return Difference(mean, classes)


def weights_of_draws(videos: int, n: int, seed: int) -> Iterator[np.ndarray]:
    """How often each video comes (V,) in each of n draws of V videos with replacement."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        yield np.bincount(rng.integers(0, videos, videos), minlength=videos).astype(np.float64)


def _draws(outcomes: Outcomes, n: int, seed: int) -> np.ndarray:
    """AP (n, R, C) of each draw in the only area range."""
    if n < 1:
        raise InputError(f"{n} draws; give at least 1")
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        drawn = pool.map(outcomes.average_precision, weights_of_draws(len(outcomes.videos), n, seed))
        return np.stack([ap[:, 0] for ap in drawn])


def _small(result: Evaluation, area: int) -> Outcomes:
    return result.outcomes.select(list(range(len(result.motion_ranges))), [area]).counting()


def _area(result: Evaluation, name: str | None) -> int:
    names = [entry.name for entry in result.area_ranges]
    if name is not None and name not in names:
        raise InputError(f"no area range {name!r}; there is {', '.join(names)}")
    return 0 if name is None else names.index(name)


def _interval(value: float, draws: np.ndarray) -> Interval:
    if not len(draws):
        return Interval(value, -1.0, -1.0)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _same_task(first: Evaluation, second: Evaluation) -> None:
    one, two = first.outcomes, second.outcomes
    for what, alike in (
        ("classes", first.classes.ids == second.classes.ids),
        ("motion ranges", first.motion_ranges == second.motion_ranges),
        ("area ranges", first.area_ranges == second.area_ranges),
        ("videos", one.videos.tolist() == two.videos.tolist()),
        ("objects", np.array_equal(one.video_objects, two.video_objects)),
    ):
        if not alike:
            raise InputError(
                f"the two results differ in their {what}; compare evaluations of one image set and setting"
            )
