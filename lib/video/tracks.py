"""Which object is which from frame to frame, told as the frames come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from lib.bbox.detections import Detections, Tracked
from lib.bbox.overlaps import overlaps
from lib.nms.seq_nms import LINK_IOU

PATIENCE = 10  # frames in a row that a track may miss


@dataclass
class _Track:
    """box (4,) as last seen, velocity (2,) x and y of its centre, pixels a frame, missed: frames since."""

    cls: int
    box: np.ndarray
    velocity: np.ndarray
    missed: int = 0

    @property
    def expected(self) -> np.ndarray:
        """Where its box should be in the next frame."""
        return self.box + (self.missed + 1) * np.tile(self.velocity, 2)


class Tracker:
    """Calling it with the detections of a clip's frames, one after another, numbers their objects from 1.

    A detection goes on with the track of its class whose expected box overlaps it with an IoU of `LINK_IOU` or more,
    as Seq-NMS links boxes; where there is a choice, the one with the largest sum of overlaps in the frame. Others begin
    tracks, so leave out beforehand what is too uncertain. A track ends when it has missed more than `PATIENCE` frames;
    until then it goes on at its last velocity. Of the past, the tracks that have not ended are all that is kept.
    """

    def __init__(self) -> None:
        self._tracks: dict[int, _Track] = {}
        self._last = 0

    def __call__(self, found: Detections) -> Tracked:
        tracked = Tracked(found.boxes, found.scores, found.classes, self._numbers(found))
        self.follow(tracked)
        return tracked

    def follow(self, tracked: Tracked) -> None:
        """Takes in a frame whose tracks are known. Shown each frame of an earlier run, it goes on as that would."""
        for track in self._tracks.values():
            track.missed += 1
        # As precise as files hold boxes.
        boxes = tracked.boxes.astype(float).round(2)
        for number, cls, box in zip(tracked.tracks.tolist(), tracked.classes.tolist(), boxes):
            track = self._tracks.get(number)
            velocity = np.zeros(2)
            if track is not None:
                step = (box - track.box).reshape(2, 2).mean(axis=0) / track.missed
                velocity = (track.velocity + step) / 2  # detections jitter
            self._tracks[number] = _Track(cls, box, velocity)
            self._last = max(self._last, number)
        self._tracks = {number: track for number, track in self._tracks.items() if track.missed <= PATIENCE}

    def _numbers(self, found: Detections) -> np.ndarray:
        """The track of each detection, those of new ones from the last number up."""
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
