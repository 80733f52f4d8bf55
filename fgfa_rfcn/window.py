"""The sliding window: from a stream of frames to FGFA's detections, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from fgfa_rfcn import network
from fgfa_rfcn.settings import SCHEMA
from lib.backends.base import Array, Arrays, Backend, Buffer, Device, Network, Precision, Shape
from lib.bbox.detections import Detections
from lib.errors import InputError
from lib.inference.detect import Picture, batch_detections, chunks, picture
from lib.inference.detector import Detector
from lib.nets.flownet import for_convolutions


class Inside(NamedTuple):
    """What went on inside for one frame.

    frame: its number; window (F,): numbers of the frames aggregated; flow (F, 2, h, w) in feature cells, to each of
    them; weights (F, h, w) of each, their sum 1.
    """

    frame: int
    window: np.ndarray
    flow: np.ndarray
    weights: np.ndarray


class VideoDetector(Detector):
    """Detects objects in a clip, each frame aggregated with the frames around it.

    Calling it with the frames of one clip (BGR uint8, any number from 1 up, one size) gives an iterator of Detections,
    one for each frame, in order; the window of frame i of n is clamp(i - K .. i + K, 0, n - 1). Each frame goes
    through the feature network once; features wait in a ring, so that memory does not grow with the clip. Output lags
    input by K frames (none if `causal`) and by less than `batch`, the number of frames run at a time. Clips come one
    after another: RuntimeError where one goes on after the next has begun. watch: called with an `Inside` for each
    frame.
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

    def __call__(self, frames: Iterable[np.ndarray]) -> Iterator[Detections]:
        count = done = 0  # frames taken in, frames given out
        size: Shape = ()
        ring: dict[str, Buffer] = {}
        self._clip = clip = object()
        pictures = (picture(frame, self._cfg) for frame in frames)
        for chunk in chunks(pictures, self._batch):
            self._check_turn(clip)
            size = size or chunk[0].data.shape
            kept = self._kept(chunk, count, size)
            if not ring:
                ring = self._ring(size, kept)
            for name, values in kept.items():
                ring[name].write([(count + row) % self._slots for row in range(len(chunk))], values)
            im_info = chunk[0].im_info
            count += len(chunk)
            while count - self._after - done >= self._batch:
                yield from self._detect(ring, range(done, done + self._batch), count, im_info)
                done += self._batch
        while done < count:
            self._check_turn(clip)
            indices = range(done, min(done + self._batch, count))
            yield from self._detect(ring, indices, count, im_info)
            done = indices.stop

    def _check_turn(self, clip: object) -> None:
        """The ring is one clip's."""
        if self._clip is not clip:
            raise RuntimeError("another clip was begun before this one ended; end it first, or take two detectors")

    def _kept(self, chunk: list[Picture], count: int, size: Shape) -> dict[str, Array]:
        """What the ring keeps of new frames, on the device. size: of every frame of the clip."""
        for row, item in enumerate(chunk):
            if item.data.shape != size:
                raise InputError(
                    f"frame {count + row} of the clip is {item.data.shape[2:]} after resizing, those before it are "
                    f"{size[2:]} (height, width); run clips of different sizes one by one"
                )
        data = np.concatenate([item.data for item in chunk])
        networks = {"feat_cache": self._features, **({"image_cache": self._image} if self._flow else {})}
        return {name: next(iter(network(data=data).values())) for name, network in networks.items()}

    def _ring(self, size: Shape, kept: Mapping[str, Array]) -> dict[str, Buffer]:
        """The caches that the networks read, to be written slot by slot."""
        caches = {name: (self._slots, *values.shape[1:]) for name, values in kept.items()}
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
        ring["flow"].write(range(pairs), np.zeros(ring["flow"].shape, np.float32))  # as it stays without a flow network
        if self._flow:
            step = (pairs_at_once(pairs),)
            ring.update(self._flow.buffers(image_cache=caches["image_cache"], current=step, other=step))
        return ring

    def _detect(self, ring: Mapping[str, Buffer], indices: range, count: int, im_info: np.ndarray) -> list[Detections]:
        """Detections of the frames `indices`; a short batch at the end of a clip is filled up with its last frame."""
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
        return batch_detections(outputs, im_infos, self._cfg.TEST, self._class_names)[: len(indices)]


def _flow_into(field: Buffer, network: Network, current: np.ndarray, other: np.ndarray) -> None:
    """Flow (P, 2, h, w) between slots (P,) of the ring, some pairs at a time so that little memory is enough."""
    step = pairs_at_once(len(other))
    for start in range(0, len(other), step):
        # The last step looks back at pairs that are done, to be as long as the others.
        first = max(0, min(start, len(other) - step))
        span = slice(first, first + step)
        found = network(current=current[span], other=other[span])["flow"]
        field.write(range(first, first + step), found)


def pairs_at_once(pairs: int) -> int:
    """Of up to 8 pairs that go through the flow network together, the number that has the fewest done twice."""
    return pairs if pairs <= 8 else min(range(8, 3, -1), key=lambda step: -pairs % step)
