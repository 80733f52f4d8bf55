"""FGFA over a stream of frames: a sliding window in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from fgfa_rfcn import network
from fgfa_rfcn.settings import SCHEMA
from lib.backends.base import Array, Arrays, Backend, Buffer, Device, Network, Precision, Shape
from lib.bbox.detections import Detections
from lib.inference.detect import Picture, chunks, clip_pictures
from lib.inference.detector import Detector
from lib.nets.flownet import for_convolutions


class Inside(NamedTuple):
    """Intermediate results for one frame.

    frame: index of the frame. window (F,): indices of the aggregated frames. flow (F, 2, h, w): flow from this frame
    to each of them, in feature cells. weights (F, h, w): aggregation weights, which sum to 1 over F.
    """

    frame: int
    window: np.ndarray
    flow: np.ndarray
    weights: np.ndarray


class VideoDetector(Detector):
    """Detects objects in a clip, aggregating the features of each frame with those of the frames around it.

    Call it with the frames of one clip (BGR uint8 of one size, at least one). It returns an iterator that yields one
    Detections per frame, in order. The window of frame i of n is i - K to i + K (to i if `causal`), clamped to 0 to
    n - 1. Each frame passes through the feature network once; its features are kept in a ring buffer, so memory use
    does not grow with the length of the clip. Output lags input by K frames (0 if `causal`) plus up to `batch` - 1,
    where `batch` is the number of frames processed at a time, plus `batch` where the device works while the host reads
    the next frames (`Backend.overlaps`). Process one clip at a time: RuntimeError is raised if an
    earlier clip continues after a later one has started. watch: called with an `Inside` for each frame.
    """

    schema = SCHEMA
    parts = staticmethod(network.parts)

    def _make_networks(
        self, args: Arrays, auxs: Arrays, backend: Backend, device: Device, precision: Precision
    ) -> None:
        cfg = self._cfg
        self._features = precision.network("features", lambda F: network.features(F, cfg), device, args, auxs)
        self._image = backend.network(lambda F: network.image(F, cfg), device, {}, {})
        self._flow: Network | None = None
        if cfg.TEST.WARP:
            flow_args = for_convolutions(args)
            self._flow = precision.network("flow", lambda F: network.flow_of_pairs(F, cfg), device, flow_args, auxs)
        self._aggregation = backend.network(
            lambda F: network.aggregation(F, cfg, self._batch, explain=self._watch is not None), device, args, auxs
        )
        self._before = cfg.TEST.KEY_FRAME_INTERVAL
        self._after = 0 if cfg.TEST.causal else self._before
        self._slots = self._before + self._after + 2 * self._batch - 1

    def _launched(self, frames: Iterable[np.ndarray]) -> Iterator[Callable[[], list[Detections]]]:
        count = done = 0  # frames read, frames finished
        ring: dict[str, Buffer] = {}
        self._clip = clip = object()
        for chunk in chunks(clip_pictures(frames, self._cfg), self._batch):
            self._check_clip(clip)
            entries = self._entries(chunk)
            if not ring:
                ring = self._ring(chunk[0].data.shape, entries)
            for name, values in entries.items():
                ring[name].write([(count + row) % self._slots for row in range(len(chunk))], values)
            im_info = chunk[0].im_info
            count += len(chunk)
            while count - self._after - done >= self._batch:
                yield self._detect(ring, range(done, done + self._batch), count, im_info)
                done += self._batch
        while done < count:
            self._check_clip(clip)
            indices = range(done, min(done + self._batch, count))
            yield self._detect(ring, indices, count, im_info)
            done = indices.stop

    def _entries(self, chunk: list[Picture]) -> dict[str, Array]:
        """Entries of the ring buffer for new frames, on the device."""
        data = np.concatenate([item.data for item in chunk])
        networks = {"feat_cache": self._features, **({"image_cache": self._image} if self._flow else {})}
        return {name: next(iter(network(data=data).values())) for name, network in networks.items()}

    def _ring(self, size: Shape, entries: Mapping[str, Array]) -> dict[str, Buffer]:
        """Input buffers of the networks, written slot by slot."""
        caches = {name: (self._slots, *values.shape[1:]) for name, values in entries.items()}
        frames, stride = network.window_frames(self._cfg), self._cfg.network.RCNN_FEAT_STRIDE
        cells = [-(-side // stride) for side in size[2:]]
        ring = dict(
            self._aggregation.buffers(
                im_info=(self._batch, 3),
                order=(self._batch, frames),
                flow=(self._batch * frames, 2, *cells),
                feat_cache=caches["feat_cache"],
            )
        )
        pairs, *_ = ring["flow"].shape
        ring["flow"].write(range(pairs), np.zeros(ring["flow"].shape, np.float32))  # stays zero without a flow network
        if self._flow:
            step = (pairs_at_once(pairs),)
            ring.update(self._flow.buffers(image_cache=caches["image_cache"], current=step, other=step))
        return ring

    def _detect(
        self, ring: Mapping[str, Buffer], indices: range, count: int, im_info: np.ndarray
    ) -> Callable[[], list[Detections]]:
        """Detections of the frames `indices`. A short batch at the end of a clip is padded with its last frame."""
        centres = np.array([*indices, *[indices[-1]] * (self._batch - len(indices))])
        offsets = np.arange(-self._before, self._after + 1)
        windows = np.clip(np.add.outer(centres, offsets), 0, count - 1)
        order = (windows % self._slots).astype(np.float32)
        if self._flow:
            _flow_into(ring["flow"], self._flow, np.repeat(centres % self._slots, len(offsets)), order.ravel())
        im_infos = np.repeat(im_info, self._batch, axis=0)
        outputs = self._aggregation(order=order, im_info=im_infos)
        if self._watch:
            motion = np.asarray(ring["flow"]).reshape(*windows.shape, *ring["flow"].shape[1:])
            for row, centre in enumerate(indices):
                weights = np.asarray(outputs[f"weights{row}"])[:, 0]
                self._watch(Inside(centre, windows[row], motion[row], weights))
        return self._fetched(outputs, im_infos[: len(indices)])


def _flow_into(field: Buffer, network: Network, current: np.ndarray, other: np.ndarray) -> None:
    """Writes the flow (P, 2, h, w) between ring slots (P,) to `field`, a few pairs at a time to save memory."""
    step = pairs_at_once(len(other))
    for start in range(0, len(other), step):
        # The last step looks back at pairs that are done, to be as long as the others.
        first = max(0, min(start, len(other) - step))
        span = slice(first, first + step)
        found = network(current=current[span], other=other[span])["flow"]
        field.write(range(first, first + step), found)


def pairs_at_once(pairs: int) -> int:
    """Number of pairs, at most 8, to process at a time, chosen so that the fewest are computed twice."""
    return pairs if pairs <= 8 else min(range(8, 3, -1), key=lambda step: -pairs % step)
