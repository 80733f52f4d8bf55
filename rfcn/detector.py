"""The frame baseline as a detector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from lib.backends.base import Arrays, Backend, Device, Precision
from lib.bbox.detections import Detections
from lib.inference.detect import same_size
from lib.inference.detector import Detector
from rfcn import network
from rfcn.settings import SCHEMA


class FrameDetector(Detector):
    """Detects objects in each frame independently, in batches of up to `batch` consecutive frames of the same size.

    Call it with the frames (BGR uint8). It returns an iterator that yields one Detections per frame, in order. `watch`
    is never called.
    """

    schema = SCHEMA
    parts = staticmethod(network.parts)

    def _make_networks(
        self, args: Arrays, auxs: Arrays, backend: Backend, device: Device, precision: Precision
    ) -> None:
        cfg = self._cfg
        self._features = precision.network("features", lambda F: network.features(F, cfg), device, args, auxs)
        self._heads = backend.network(lambda F: network.heads(F, cfg), device, args, auxs)

    def _launched(self, frames: Iterable[np.ndarray]) -> Iterator[Callable[[], list[Detections]]]:
        for pictures in same_size(frames, self._batch, self._cfg):
            im_infos = np.concatenate([item.im_info for item in pictures])
            features = self._features(data=np.concatenate([item.data for item in pictures]))["features"]
            outputs = self._heads(features=features, im_info=im_infos)
            yield self._fetched(outputs, im_infos)
