"""What the tests of the sinks share: results of single frames, and running a sink on them."""

from __future__ import annotations

import av
import numpy as np

from lib.bbox.detections import Detections
from lib.dataset.classes import ClassList
from lib.video.records import Result

CLASSES = ClassList(["n1", "n2"], ["cat", "dog, wet"], [(255, 0, 0), (0, 255, 0)])


def result(index, count=2, size=(48, 64), name=None):
    """A frame of grey 4 * index with `count` boxes."""
    boxes = np.array([[1.125, 2, 30.5, 40], [index, 5, 9, 9]], np.float32)[:count]
    found = Detections(boxes, np.array([0.98771, 0.5], np.float32)[:count], np.array([1, 2], np.int32)[:count])
    image = np.full((*size, 3), 4 * index, np.uint8)
    return Result(index, name or f"{index:06d}.jpg", image, found, lambda image, detections: image)


def kept(count):
    return [(index, f"{index:06d}.jpg") for index in range(count)]


def run(sink, indices, kept_frames=(), counts=(2, 0, 1)):
    sink.start(list(kept_frames))
    for index in indices:
        sink.write(result(index, counts[index % len(counts)]))
    sink.close()


def film_frames(path):
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        frames = list(film.decode(video=0))
        times = [float(frame.pts * frame.time_base) for frame in frames]
        return stream, [frame.to_ndarray(format="bgr24") for frame in frames], times
