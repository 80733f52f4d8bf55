"""The two neighbours that a frame is trained with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.dataset.imagenet_vid import TrainEntry


class Neighbours:
    """`Neighbours(low, high)(entry, rng)`: the frame and two others, at different offsets drawn from low..high.

    Each is clamped to the clip; an offset may be 0, and "before" may come after. A still image stands in for its own
    neighbours.
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
