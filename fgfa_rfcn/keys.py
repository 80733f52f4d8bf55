"""Aggregated features on the device: of windows of frames, and of key frames for the frames between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fgfa_rfcn.flows import Flows
from fgfa_rfcn.schedule import LEFT_OUT, Schedule
from lib.backends.base import Array, Network, Shape


class Inside(NamedTuple):
    """Intermediate results for one frame.

    frame: index of the frame. window (F,): indices of the frames whose features are summed: those of its window, or
    the key frames around it, whose features are aggregated themselves. flow (F, 2, h, w): flow from this frame to each
    of them, in feature cells. weights (F, h, w): their weights, which sum to 1 over F.
    """

    frame: int
    window: np.ndarray
    flow: np.ndarray
    weights: np.ndarray


class Windows:
    """Aggregates the features of key frames over their windows, `centres` of them at a time.

    kept: frames whose features, if they are key frames, are kept in a ring buffer: those of key frame number i in slot
    i modulo the number of slots.
    """

    def __init__(self, network: Network, schedule: Schedule, flows: Flows | None, *, kept: int, centres: int):
        self._network, self._schedule, self._flows = network, schedule, flows
        self._slots, self._centres = -(-kept // schedule.duration), centres

    def start(self, features: Shape, flow: Shape, **others: Shape) -> None:
        """Starts a clip. Shapes of the features of frames, of the flow, and of other inputs of the network."""
        order = (self._centres, self._schedule.window)
        shapes = {"feat_cache": (self._slots, *features[1:]), "order": order, "flow": flow, **others}
        self._ring = self._network.buffers(**shapes)["feat_cache"]
        self._no_flow = np.zeros(flow, np.float32)

    def add(self, frames: list[int], features: Array) -> None:
        """Keeps the features of key frames."""
        self._ring.write([frame // self._schedule.duration % self._slots for frame in frames], features)

    def __call__(
        self, centres: np.ndarray, count: int, watched: bool, **others: np.ndarray
    ) -> tuple[Mapping[str, Array], list[Inside]]:
        """Outputs of the network for key frames `centres`, and if `watched`, what happened inside.

        count: frames read so far. others: further inputs of the network.
        """
        windows = self._schedule.windows(centres, count)
        slots = np.where(windows == LEFT_OUT, LEFT_OUT, windows // self._schedule.duration % self._slots)
        flow: Array | np.ndarray = self._no_flow
        if self._flows:
            flow = self._flows.between(np.repeat(centres, windows.shape[1]), windows.ravel())
        outputs = self._network(order=slots.astype(np.float32), flow=flow, **others)
        if not watched:
            return outputs, []
        motion = np.asarray(flow)[: windows.size].reshape(*windows.shape, *flow.shape[1:])
        inside = []
        for row, (centre, window) in enumerate(zip(centres, windows)):
            used = window != LEFT_OUT
            weights = np.asarray(outputs[f"weights{row}"])[:, 0]
            inside.append(Inside(int(centre), window[used], motion[row][used], weights[used]))
        return outputs, inside


class Propagation:
    """Features for any frames, `frames` at a time, from the aggregated ones of the key frames around them.

    windows: aggregates one key frame at a time. channels: of aggregated features.
    """

    def __init__(
        self, network: Network, windows: Windows, schedule: Schedule, flows: Flows | None, *, frames: int, channels: int
    ):
        self._network, self._windows, self._schedule, self._flows = network, windows, schedule, flows
        self._frames, self._channels = frames, channels
        self._slots = -(-(frames - 1) // schedule.duration) + 2

    def start(self, features: Shape, flow: Shape, **others: Shape) -> None:
        """As `Windows.start`, for both."""
        self._windows.start(features, flow)
        rows = self._schedule.sources * self._frames
        maps = (self._slots, self._channels, *flow[2:])
        shapes = {"key_cache": maps, "order": (rows,), "share": (rows, 1, 1, 1), "flow": flow}
        self._ring = self._network.buffers(**shapes, **others)["key_cache"]
        self._no_flow = np.zeros(flow, np.float32)
        self._next = 0  # the next key frame to aggregate
        self._inside: dict[int, Inside] = {}  # of the key frames in the ring

    def __call__(
        self, frames: np.ndarray, count: int, watched: bool, **others: np.ndarray
    ) -> tuple[Mapping[str, Array], list[Inside]]:
        """As `Windows`, for any frames."""
        keys, shares = self._schedule.keys(frames, count)
        while self._next <= keys.max():
            outputs, inside = self._windows(np.array([self._next]), count, watched)
            self._ring.write([self._slot(self._next)], outputs["aggregated"])
            self._inside.update((each.frame, each) for each in inside)
            self._next += self._schedule.duration
        self._inside = {key: each for key, each in self._inside.items() if key >= keys.min()}
        flow: Array | np.ndarray = self._no_flow
        if self._flows:
            flow = self._flows.between(np.tile(frames, len(keys)), keys.ravel(), own=False)
        order, share = self._slot(keys.ravel()), shares.reshape(-1, 1, 1, 1)
        outputs = self._network(order=order.astype(np.float32), share=share.astype(np.float32), flow=flow, **others)
        if not watched:
            return outputs, []
        motion = np.asarray(flow)[: keys.size].reshape(*keys.shape, *flow.shape[1:])
        return outputs, [
            self._inside[frame]
            if frame in keys[:, row]
            else _between(frame, keys[:, row], motion[:, row], shares[:, row])
            for row, frame in enumerate(frames.tolist())
        ]

    def _slot(self, keys: Any) -> Any:
        return keys // self._schedule.duration % self._slots


def _between(frame: int, keys: np.ndarray, flow: np.ndarray, shares: np.ndarray) -> Inside:
    used = shares > 0
    weights = np.ones((int(used.sum()), *flow.shape[2:])) * shares[used, None, None]
    return Inside(frame, keys[used], flow[used], weights)
