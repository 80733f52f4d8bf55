"""What the tests of run_clip share: a detector with a window of frames, and reading its detections back."""

from __future__ import annotations

import json
from collections import deque

import numpy as np

from lib.bbox.detections import Detections
from lib.dataset.classes import ClassList

CLASSES = ClassList(["n1", "n2"], ["cat", "dog"], [(255, 0, 0), (0, 255, 0)])


def plain(image, detections):
    return image


class Window:
    """Looks `reach` frames ahead and back, as FGFA does. The box's x1 is the mean grey of the window."""

    def __init__(self, reach=3):
        self.reach, self.seen, self.calls = reach, 0, 0

    def __call__(self, frames):
        self.calls += 1
        greys = deque()
        first = 0
        source = iter(frames)
        position, ended = 0, False
        while True:
            while not ended and first + len(greys) <= position + self.reach:
                frame = next(source, None)
                if frame is None:
                    ended = True
                else:
                    self.seen += 1
                    greys.append(float(frame[0, 0, 0]))
            if position >= first + len(greys):
                return
            last = first + len(greys) - 1
            window = [
                greys[min(max(i, first), last) - first] for i in range(position - self.reach, position + self.reach + 1)
            ]
            x = float(np.mean(window))
            yield Detections(
                np.array([[x, 0, 270, 20], [0, 0, 9, 9]], np.float32),
                np.array([0.9, 0.3], np.float32),
                np.int32([1, 2]),
            )
            position += 1
            if position - self.reach > first:
                greys.popleft()
                first += 1


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]
