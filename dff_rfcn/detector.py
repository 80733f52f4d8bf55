"""Deep Feature Flow over a stream of frames: one key frame at a time, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from dff_rfcn import network
from dff_rfcn.settings import SCHEMA
from lib.backends.base import Array, Arrays, Backend, Device, Precision
from lib.bbox.detections import Detections
from lib.inference.detect import Picture, clip_pictures
from lib.inference.detector import Detector
from lib.nets import sizes
from lib.nets.flownet import for_convolutions, image


class Inside(NamedTuple):
    """Intermediate results for one frame.

    frame, key: indices of the frame and of its key frame. flow (2, h, w): from the frame to its key frame, in feature
    cells. scale (C, h, w): the scale map. A key frame has flow 0 and scale 1.
    """

    frame: int
    key: int
    flow: np.ndarray
    scale: np.ndarray


class Key(NamedTuple):
    """What is kept of a key frame, on the device: its features (1, C, h, w) and the flow network's input."""

    features: Array
    image: Array


class KeyFrameDetector(Detector):
    """Detects objects in a clip with the features of key frames, propagated along the flow to the frames between.

    Call it with the frames of one clip (BGR uint8 of one size). It returns an iterator that yields one Detections per
    frame, in order. Every TEST.KEY_FRAME_INTERVAL-th frame, from the first on, is a key frame. Only key frames pass
    through the feature network; the features of the last one are kept on the device. `batch`: the largest number of
    frames processed at a time; none of these batches contains frames of two key frames. Output lags input by up to
    `batch` - 1 frames, and by one batch more where a GPU works while the host reads on. Process one clip at a time:
    RuntimeError is raised if an earlier clip continues after a later one has started. watch: called with an `Inside`
    for each frame.
    """

    schema = SCHEMA
    parts = staticmethod(network.parts)

    def _make_networks(
        self, args: Arrays, auxs: Arrays, backend: Backend, device: Device, precision: Precision
    ) -> None:
        cfg = self._cfg
        self._interval = cfg.TEST.KEY_FRAME_INTERVAL
        self._features = precision.network("features", lambda F: network.features(F, cfg), device, args, auxs)
        self._heads = backend.network(lambda F: network.heads(F, cfg), device, args, auxs)
        if self._interval > 1:
            # Two, since the output for the key frame must outlast those for the frames after it.
            self._key_image, self._image = (
                backend.network(lambda F: image(F, sizes.flownet(cfg)), device, {}, {}) for _ in range(2)
            )
            flow_args = for_convolutions(args)
            self._flow = precision.network("flow", lambda F: network.flow(F, cfg), device, flow_args, auxs)
            self._propagation = backend.network(lambda F: network.propagation(F, cfg), device, args, auxs)

    def _launched(self, frames: Iterable[np.ndarray]) -> Iterator[Callable[[], list[Detections]]]:
        self._clip = clip = object()
        pictures = clip_pictures(frames, self._cfg)
        key: Key | None = None
        done = 0
        while chunk := list(islice(pictures, min(self._batch, self._interval - done % self._interval))):
            self._check_clip(clip)
            if done % self._interval == 0:
                item, *chunk = chunk
                features = self._features(data=item.data)["features"]
                if self._interval > 1:
                    key = Key(features, self._key_image(data=item.data)["image"])
                yield self._detect_key(item, features, done)
                done += 1
                self._check_clip(clip)
            if chunk and key:
                yield self._detect_others(chunk, key, done)
                done += len(chunk)

    def _detect_key(self, item: Picture, features: Array, index: int) -> Callable[[], list[Detections]]:
        """Detections of a key frame."""
        outputs = self._heads(features=features, im_info=item.im_info)
        if self._watch:
            _, channels, *cells = features.shape
            still, ones = (np.full((count, *cells), value, np.float32) for count, value in ((2, 0), (channels, 1)))
            self._watch(Inside(index, index, still, ones))
        return self._fetched(outputs, item.im_info)

    def _detect_others(self, chunk: list[Picture], key: Key, first: int) -> Callable[[], list[Detections]]:
        """Detections of frames that follow a key frame; first: index of the first of them."""
        im_infos = np.concatenate([item.im_info for item in chunk])
        slots = np.zeros(len(chunk), np.float32)
        images = self._image(data=np.concatenate([item.data for item in chunk]))["image"]
        motion = self._flow(current=images, image_key=key.image, key=slots)
        outputs = self._propagation(feat_key=key.features, key=slots, im_info=im_infos, **motion)
        if self._watch:
            found = (np.asarray(motion[name]) for name in ("flow", "scale"))
            for index, *maps in zip(range(first, first + len(chunk)), *found):
                self._watch(Inside(index, index - index % self._interval, *maps))
        return self._fetched(outputs, im_infos)
