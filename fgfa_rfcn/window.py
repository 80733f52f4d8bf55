"""FGFA over a stream of frames: a sliding window in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from fgfa_rfcn import network
from fgfa_rfcn.flows import Flows
from fgfa_rfcn.keys import Inside, Propagation, Windows
from fgfa_rfcn.schedule import Schedule
from fgfa_rfcn.settings import SCHEMA
from lib.backends.base import Arrays, Backend, Device, Precision
from lib.bbox.detections import Detections
from lib.inference.detect import Picture, chunks, clip_pictures
from lib.inference.detector import Detector

__all__ = ["Inside", "VideoDetector"]


class VideoDetector(Detector):
    """Detects objects in a clip, aggregating the features of each frame with those of the frames around it.

    Call it with the frames of one clip (BGR uint8 of one size, at least one). It returns an iterator that yields one
    Detections per frame, in order. The window of frame i of n is i - K to i + K (to i if `causal`), clamped to 0 to
    n - 1. Each frame passes through the feature network once; its features are kept in a ring buffer, so memory use
    does not grow with the length of the clip. With TEST.KEY_FRAME_DURATION above 1, this holds for key frames, and the
    features of the frames between are propagated from the aggregated ones of the key frames around them.

    Output lags input by the sum of

    - K frames; up to K + d - 1 with key frames d apart; 0 if `causal`;
    - up to `batch` - 1 frames, where `batch` is the number of frames processed at a time;
    - `batch` frames on devices that work while the host reads the next ones (`Backend.overlaps`).

    Process one clip at a time: RuntimeError is raised if an earlier clip continues after a later one has started.
    watch: called with an `Inside` for each frame.
    """

    schema = SCHEMA
    parts = staticmethod(network.parts)

    def _make_networks(
        self, args: Arrays, auxs: Arrays, backend: Backend, device: Device, precision: Precision
    ) -> None:
        cfg, batch, watched = self._cfg, self._batch, self._watch is not None
        self._schedule = schedule = Schedule.of(cfg.TEST)
        self._every = schedule.duration == 1  # whether every frame is a key frame
        window, kept = schedule.window, schedule.frames_kept(batch)
        self._pairs = window * batch if self._every else max(window, schedule.sources * batch)
        self._features = precision.network("features", lambda F: network.features(F, cfg), device, args, auxs)
        self._flows: Flows | None = None
        if cfg.TEST.WARP:
            self._flows = Flows(
                cfg, schedule, kept=kept, pairs=self._pairs, batch=batch,
                args=args, auxs=auxs, backend=backend, device=device, precision=precision,
            )  # fmt: skip
        if self._every:
            aggregation = backend.network(
                lambda F: network.aggregation(F, cfg, batch, explain=watched), device, args, auxs
            )
            self._windows = Windows(aggregation, schedule, self._flows, kept=kept, centres=batch)
            self._detect: Windows | Propagation = self._windows
            return
        aggregation = backend.network(lambda F: network.aggregated(F, cfg, explain=watched), device, {}, {})
        propagation = backend.network(
            lambda F: network.propagation(F, cfg, batch, schedule.sources), device, args, auxs
        )
        self._windows = Windows(aggregation, schedule, self._flows, kept=kept, centres=1)
        self._detect = Propagation(
            propagation, self._windows, schedule, self._flows, frames=batch, channels=cfg.network.FEAT_DIM
        )

    def _launched(self, frames: Iterable[np.ndarray]) -> Iterator[Callable[[], list[Detections]]]:
        count = done = 0  # frames read, frames finished
        self._clip = clip = object()
        for chunk in chunks(clip_pictures(frames, self._cfg), self._batch):
            self._check_clip(clip)
            self._read(chunk, count)
            im_info = chunk[0].im_info
            count += len(chunk)
            while self._schedule.needs(done + self._batch - 1) < count:
                yield self._detections(range(done, done + self._batch), count, im_info)
                done += self._batch
        while done < count:
            self._check_clip(clip)
            indices = range(done, min(done + self._batch, count))
            yield self._detections(indices, count, im_info)
            done = indices.stop

    def _read(self, chunk: list[Picture], first: int) -> None:
        """Keeps the frames from `first` on, and features of key frames."""
        numbers = range(first, first + len(chunk))
        data = np.concatenate([item.data for item in chunk])
        if self._flows:
            self._flows.add(numbers, data)
        keys = [number for number in numbers if number % self._schedule.duration == 0]
        # All frames at once or, so that the shape of the input stays the same, one key frame at a time.
        for span in [keys] if self._every else [[key] for key in keys]:
            features = self._features(data=data[[key - first for key in span]])["conv_embed"]
            if span[0] == 0:
                flow = (self._pairs, 2, *network.cells(self._cfg, data.shape))
                self._detect.start(features.shape, flow, im_info=(self._batch, 3))
            self._windows.add(span, features)

    def _detections(self, indices: range, count: int, im_info: np.ndarray) -> Callable[[], list[Detections]]:
        """Detections of the frames `indices`. A short batch at the end of a clip is padded with its last frame."""
        frames = np.array([*indices, *[indices[-1]] * (self._batch - len(indices))])
        im_infos = np.repeat(im_info, self._batch, axis=0)
        outputs, inside = self._detect(frames, count, self._watch is not None, im_info=im_infos)
        if self._watch:
            for each in inside[: len(indices)]:
                self._watch(each)
        return self._fetched(outputs, im_infos[: len(indices)])
