"""What a detector says of one frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Detections:
    """Detections of one frame, sorted by class, then by score from high to low.

    boxes (N, 4) float32 x1 y1 x2 y2, inclusive pixels of the original image;
    scores (N,) float32; classes (N,) int32 in 1..C.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, keep: np.ndarray) -> Detections:
        """Those that keep (N,) bool says."""
        return replace(self, boxes=self.boxes[keep], scores=self.scores[keep], classes=self.classes[keep])

    def above(self, threshold: float) -> Detections:
        """Those with a score of at least `threshold`."""
        return self.where(self.scores >= threshold)


@dataclass(frozen=True)
class Tracked(Detections):
    """Detections that know which object each is. tracks (N,) int32 from 1, each once in a frame."""

    tracks: np.ndarray

    def where(self, keep: np.ndarray) -> Tracked:
        return replace(super().where(keep), tracks=self.tracks[keep])
