"""Neighbours of a training frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.dataset.imagenet_vid import TrainEntry


class Neighbours:
    """`Neighbours(low, high)(entry, rng)`: the frame and two others, at different random offsets from low to high.

    Offsets are clamped to the clip. An offset may be 0, and "before" may be a later frame. The neighbours of a still
    image are the image itself.
    """

    def __init__(self, low: int, high: int):
        self._offsets = np.arange(low, high + 1)

    def __call__(self, entry: TrainEntry, rng: np.random.Generator) -> dict[str, Path]:
        before, after = rng.choice(self._offsets, 2, replace=False)
        return {
            "data": entry.image,
            "data_bef": entry.neighbour(int(before)),
            "data_aft": entry.neighbour(int(after)),
        }
