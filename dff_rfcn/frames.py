"""The key frame of a training frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.dataset.imagenet_vid import TrainEntry


class KeyFrame:
    """`KeyFrame(low, high)(entry, rng)`: the frame, another one of its clip as its key frame, and eq_flag (1,).

    The offset of the key frame is drawn evenly from low to high and clamped to the clip. The key frame of a still image
    is the image itself. eq_flag is 1 if both are the same frame.
    """

    def __init__(self, low: int, high: int):
        self._low, self._high = low, high

    def __call__(self, entry: TrainEntry, rng: np.random.Generator) -> dict[str, Path | np.ndarray]:
        key = entry.neighbour(int(rng.integers(self._low, self._high, endpoint=True)))
        return {"data": entry.image, "data_ref": key, "eq_flag": np.array([key == entry.image], np.float32)}
