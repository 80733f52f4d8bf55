"""Learning-rate schedules, functions from the number of steps taken to the rate of the next, and decay of averages."""

from __future__ import annotations

import math
from collections.abc import Callable

from lib.config import lr_steps
from lib.errors import InputError, quoted

Schedule = Callable[[int], float]


def step_decay(
    lr: float,
    lr_step: str,
    steps_per_epoch: int,
    *,
    warmup: bool = False,
    warmup_lr: float = 0.0,
    warmup_step: int = 0,
) -> Schedule:
    """`lr`, multiplied by 0.1 at each epoch in `lr_step`: numbers such as '1.333', separated by commas.

    With `warmup`, the first `warmup_step` steps use `warmup_lr`. Raises InputError if `lr_step` has another form.
    """
    try:
        drops = [int(epoch * steps_per_epoch) for epoch in lr_steps(str(lr_step))]
    except ValueError:
        raise InputError(
            f"TRAIN.lr_step: {quoted(lr_step)} is not epochs separated by commas, such as '1.333' or '4,6'"
        ) from None

    def rate(step: int) -> float:
        if warmup and step < warmup_step:
            return warmup_lr
        return lr * 0.1 ** sum(step >= drop for drop in drops)

    return rate


def cosine(lr: float, steps: int) -> Schedule:
    """Falls from `lr` to 0 along half a cosine."""
    return lambda step: lr * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))


def one_cycle(lr: float, steps: int, *, rise: float = 0.3, start: float = 0.04) -> Schedule:
    """Rises from `start` * `lr` to `lr` over the fraction `rise` of the steps, then falls to 0, along half cosines
    (Smith and Topin, Super-Convergence, 2018)."""

    def rate(step: int) -> float:
        position = min(step / steps, 1)
        if position < rise:
            return lr * (start + (1 - start) * 0.5 * (1 - math.cos(math.pi * position / rise)))
        return lr * 0.5 * (1 + math.cos(math.pi * (position - rise) / (1 - rise)))

    return rate


def average_decay(limit: float, step: int) -> float:
    """Decay of an average of the weights at `step`, counted from 0. It rises to `limit`, so that the first weights are
    soon forgotten, as with `num_updates` of TensorFlow's ExponentialMovingAverage.
    """
    return min(limit, (1 + step) / (10 + step))
