"""Flow between the frames of a clip, kept on the device; long flows are chained from short ones."""

from __future__ import annotations

import numpy as np
from easydict import EasyDict

from fgfa_rfcn import network
from fgfa_rfcn.schedule import Schedule
from lib.backends.base import Array, Arrays, Backend, Buffer, Device, Precision, Shape
from lib.nets import sizes
from lib.nets.flownet import for_convolutions, image


class Flows:
    """Gives the flow between any two of the latest `kept` frames that the schedule needs flow between.

    Pairs of frames at most TEST.FLOW_HOP apart pass through the flow network, each once (0: all pairs do). The flow
    from t to a frame further away is followed in hops of that length, the rest last:
    F(t, s + h)(x) = F(t, s)(x) + f(s, s + h)(x + F(t, s)(x)).

    pairs: the number of flows that `between` returns. batch: frames processed at a time.
    """

    def __init__(
        self,
        cfg: EasyDict,
        schedule: Schedule,
        *,
        kept: int,
        pairs: int,
        batch: int,
        args: Arrays,
        auxs: Arrays,
        backend: Backend,
        device: Device,
        precision: Precision,
    ):
        longest = schedule.longest
        self._cfg, self._kept, self._pairs = cfg, kept, pairs
        self._hop = min(cfg.TEST.FLOW_HOP or longest, longest)
        self._rounds = max(1, -(-longest // max(1, self._hop)))
        self._step = pairs_at_once(batch * _new_pairs(schedule, self._hop))
        self._image = backend.network(lambda F: image(F, sizes.flownet(cfg)), device, {}, {})
        self._network = precision.network(
            "flow", lambda F: network.flow_of_pairs(F, cfg), device, for_convolutions(args), auxs
        )
        self._chain = backend.network(lambda F: network.chained_flow(F, pairs, self._rounds), device, {}, {})
        self._still = kept * (2 * self._hop + 1)  # the row of a flow of 0

    def add(self, numbers: range, data: np.ndarray) -> None:
        """Keeps the next frames, data (N, 3, H, W). Number 0 starts a clip."""
        images = self._image(data=data)["image"]
        if numbers[0] == 0:
            self._start(images.shape, network.cells(self._cfg, data.shape))
        self._images.write([number % self._kept for number in numbers], images)

    def _start(self, images: Shape, cells: tuple[int, int]) -> None:
        step = (self._step,)
        self._images = self._network.buffers(image_cache=(self._kept, *images[1:]), current=step, other=step)[
            "image_cache"
        ]
        shapes: dict[str, Shape] = {"flow_cache": (self._still + 1, 2, *cells), "rows": (self._rounds * self._pairs,)}
        bounds = {}
        if self._rounds > 1:
            bounds = dict(zip(("lowest", "highest"), _bounds(self._pairs, *cells)))
            shapes.update({name: values.shape for name, values in bounds.items()})
        inputs = self._chain.buffers(**shapes)
        for name, values in bounds.items():
            inputs[name].write(range(self._pairs), values)
        self._cache: Buffer = inputs["flow_cache"]
        self._cache.write([self._still], np.zeros((1, 2, *cells), np.float32))
        self._known = np.full(self._still, -1)  # by row of the cache: the frame that its flow starts from

    def between(self, current: np.ndarray, other: np.ndarray, own: bool = True) -> Array:
        """Flow from frames `current` (N,) to frames `other` (N,) -> (pairs, 2, h, w), of which the first N count.

        It is 0 where `other` is negative. own: whether the flow of a frame to itself is that of the network, else 0.
        """
        stops, rows = self._route(current, other, own)
        self._find(stops, rows)
        padded = np.full((self._pairs, self._rounds), self._still)
        padded[: len(rows)] = rows
        return self._chain(rows=padded.T.ravel().astype(np.float32))["flow"]

    def _route(self, current: np.ndarray, other: np.ndarray, own: bool) -> tuple[np.ndarray, np.ndarray]:
        """The frames that each flow passes (N, rounds + 1), and the rows of the cache for the steps (N, rounds)."""
        offset = np.where(other < 0, 0, other - current)
        distance = np.minimum(np.arange(self._rounds + 1) * self._hop, np.abs(offset)[:, None])
        stops = current[:, None] + np.sign(offset)[:, None] * distance
        step = np.diff(stops)
        still = step == 0
        still[:, 0] &= (other < 0) | (not own)
        rows = stops[:, :-1] % self._kept * (2 * self._hop + 1) + step + self._hop
        return stops, np.where(still, self._still, rows)

    def _find(self, stops: np.ndarray, rows: np.ndarray) -> None:
        """Passes the steps that are not in the cache through the flow network, a few at a time to save memory."""
        starts, ends = stops[:, :-1], stops[:, 1:]
        unknown = (rows < self._still) & (self._known[np.minimum(rows, self._still - 1)] != starts)
        rows, first = np.unique(rows[unknown], return_index=True)
        starts, ends = starts[unknown][first], ends[unknown][first]
        self._known[rows] = starts
        for start in range(0, len(rows), self._step):
            # All calls have the same shape; the last one repeats pairs.
            chosen = np.minimum(np.arange(start, start + self._step), len(rows) - 1)
            current, other = (frames[chosen] % self._kept for frames in (starts, ends))
            found = self._network(current=current.astype(np.float32), other=other.astype(np.float32))["flow"]
            self._cache.write(rows[chosen].tolist(), found)


def _new_pairs(schedule: Schedule, hop: int) -> int:
    """How many pairs a frame adds to those that have passed through the flow network."""
    if schedule.duration > 1:
        return schedule.sources  # more for a key frame, in several calls
    return 1 + hop * (1 if schedule.causal else 2)


def _bounds(pairs: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest flow (pairs, 2, h, w) that stay within the map."""
    here = np.stack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)
    far = np.array([width - 1, height - 1], np.float32)[:, None, None] - here
    return np.repeat(-here[None], pairs, axis=0), np.repeat(far[None], pairs, axis=0)


def pairs_at_once(pairs: int) -> int:
    """Number of pairs, at most 8, to process at a time, chosen so that the fewest are computed twice."""
    return pairs if pairs <= 8 else min(range(8, 3, -1), key=lambda step: -pairs % step)
