"""Online tracking: object numbers that persist from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from lib.bbox.detections import Detections
from lib.bbox.overlaps import overlaps
from lib.nms.seq_nms import LINK_IOU

PATIENCE = 10  # consecutive frames that a track may miss
FAINT = 0.1  # lowest score of a detection that can continue a track


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
    chosen. Then tracks that were not continued take detections with a score below `start`, by the same rule. Of the
    other detections, those with a score of at least `start` start a track, and the rest is left out. (Low scores in a
    second step are an idea of ByteTrack, Zhang et al., 2022.) A track ends after missing more than `PATIENCE` frames;
    until then it moves on at its last velocity. Only active tracks are stored.
    """

    def __init__(self, start: float = 0.0) -> None:
        self.start = start
        self._tracks: dict[int, _Track] = {}
        self._last = 0

    def __call__(self, found: Detections) -> Detections:
        numbers = self._numbers(found)
        tracked = replace(found, tracks=numbers)
        if not numbers.all():
            tracked = tracked.where(numbers > 0)
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
        """The track number (N,) int32 of each detection, 0 if it is left out; new tracks get the next unused ones."""
        result = np.zeros(len(found), np.int32)
        certain = found.scores >= np.float32(self.start)
        for part in (certain, ~certain):
            known = [number for number in self._tracks if number not in result]
            rows = np.flatnonzero(part)
            if not known or not len(rows):
                continue
            tracks = [self._tracks[number] for number in known]
            overlap = overlaps(np.stack([track.expected for track in tracks]), found.boxes[rows])
            other = np.array([track.cls for track in tracks])[:, None] != found.classes[rows]
            overlap[other | (overlap < LINK_IOU)] = 0
            for row, column in zip(*linear_sum_assignment(overlap, maximize=True)):
                if overlap[row, column]:
                    result[rows[column]] = known[row]
        new = (result == 0) & certain
        result[new] = self._last + np.arange(1, new.sum() + 1)
        return result
