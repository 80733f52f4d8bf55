"""Online tracking: object numbers that persist from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from lib.bbox.detections import Detections
from lib.bbox.overlaps import overlaps
from lib.nms.seq_nms import LINK_IOU

PATIENCE = 10  # consecutive frames that a track may miss


@dataclass
class _Track:
    """The state of one track.

    box (4,): its last detection; velocity (2,): x and y of the centre, in pixels per frame; missed: frames since the
    last detection.
    """

    cls: int
    box: np.ndarray
    velocity: np.ndarray
    missed: int = 0

    @property
    def expected(self) -> np.ndarray:
        """The predicted box in the next frame, at constant velocity."""
        return self.box + (self.missed + 1) * np.tile(self.velocity, 2)


class Tracker:
    """Assigns track numbers, counted from 1, to the detections of one clip.

    Call it with the detections of each frame in order; it returns them with `tracks` set. Use one tracker per clip.

    A detection continues a track of its class if its IoU with the track's predicted box is at least `LINK_IOU`, the
    threshold of Seq-NMS. If several assignments are possible, the one with the largest sum of IoUs in the frame is
    chosen. Every other detection starts a track, so filter out uncertain detections first. A track ends after missing
    more than `PATIENCE` frames; until then it moves on at its last velocity. Only active tracks are stored.
    """

    def __init__(self) -> None:
        self._tracks: dict[int, _Track] = {}
        self._last = 0

    def __call__(self, found: Detections) -> Detections:
        tracked = replace(found, tracks=self._numbers(found))
        self.follow(tracked)
        return tracked

    def follow(self, tracked: Detections) -> None:
        """Update with a frame whose tracks are known, such as each frame of an earlier run that is resumed."""
        for track in self._tracks.values():
            track.missed += 1
        # Rounded as in the files, so that a resumed run assigns the same numbers.
        boxes = tracked.boxes.astype(float).round(2)
        assert tracked.tracks is not None
        for number, cls, box in zip(tracked.tracks.tolist(), tracked.classes.tolist(), boxes):
            before = self._tracks.get(number)
            velocity = np.zeros(2)
            if before is not None:
                step = (box - before.box).reshape(2, 2).mean(axis=0) / before.missed
                velocity = (before.velocity + step) / 2  # smoothed, since detections jitter
            self._tracks[number] = _Track(cls, box, velocity)
            self._last = max(self._last, number)
        self._tracks = {number: track for number, track in self._tracks.items() if track.missed <= PATIENCE}

    def _numbers(self, found: Detections) -> np.ndarray:
        """The track number (N,) int32 of each detection; new tracks get the next unused numbers."""
        result = np.zeros(len(found), np.int32)
        known = list(self._tracks)
        if known:
            tracks = self._tracks.values()
            overlap = overlaps(np.stack([track.expected for track in tracks]), found.boxes)
            other = np.array([track.cls for track in tracks])[:, None] != found.classes
            overlap[other | (overlap < LINK_IOU)] = 0
            for row, column in zip(*linear_sum_assignment(overlap, maximize=True)):
                if overlap[row, column]:
                    result[column] = known[row]
        new = result == 0
        result[new] = self._last + np.arange(1, new.sum() + 1)
        return result
