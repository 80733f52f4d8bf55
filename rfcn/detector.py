"""The frame baseline as a detector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from lib.backends.base import Arrays, Backend, Device, Precision
from lib.bbox.detections import Detections
from lib.inference.detect import batch_detections, behind, same_size
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
        self._backend, self._late = backend, int(backend.overlaps(device))
        self._features = precision.network("features", lambda F: network.features(F, cfg), device, args, auxs)
        self._heads = backend.network(lambda F: network.heads(F, cfg), device, args, auxs)

    def __call__(self, frames: Iterable[np.ndarray]) -> Iterator[Detections]:
        return behind(self._launched(frames), self._late)

    def _launched(self, frames: Iterable[np.ndarray]) -> Iterator[Callable[[], list[Detections]]]:
        """Queues the networks for all frames; see `behind`."""
        for pictures in same_size(frames, self._batch, self._cfg):
            im_infos = np.concatenate([item.im_info for item in pictures])
            features = self._features(data=np.concatenate([item.data for item in pictures]))["features"]
            outputs = self._heads(features=features, im_info=im_infos)
            yield partial(self._finished, self._backend.fetch(outputs), im_infos)

    def _finished(self, fetched: Callable[[], dict[str, np.ndarray]], im_infos: np.ndarray) -> list[Detections]:
        return batch_detections(fetched(), im_infos, self._cfg.TEST, self._class_names)
