"""The detectors that bench.full_frame compares, by name such as `float32` or `int8_dff_i10`."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from itertools import count
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np
from easydict import EasyDict

from bench.weights import synthetic
from fgfa_rfcn import network as fgfa
from fgfa_rfcn.schedule import Schedule
from lib.backends.base import Arrays, Backend, Network, Precision
from lib.backends.choice import make_backend
from lib.config import load_config
from lib.errors import InputError
from lib.inference.detect import batch_detections, picture
from lib.method import Method
from lib.methods import METHODS
from lib.variants import variant

METHOD = METHODS["fgfa_rfcn"]
CONTESTANTS = ("published", "float32", "int8", "bfloat16", "torch-float32", "torch-bfloat16")
SMALL = (192, 256)  # frames of MiniVID, height and width


class Case(NamedTuple):
    """A detector to time, and the height and width of its frames."""

    method: Method
    cfg: EasyDict
    size: tuple[int, int]


class Running(NamedTuple):
    """A detector that runs.

    turn: reads some frames and returns the results for as many. frames: how many, the distance of its key frames. lead:
    turns until all of them cost the same. parts: the seconds of its networks, to which each turn adds.
    """

    turn: Callable[[], object]
    frames: int = 1
    lead: int = 1
    parts: Mapping[str, list[float]] = MappingProxyType({})


def engine(name: str) -> str:
    """The package that a contestant needs."""
    return "torch" if name.startswith("torch-") else "mxnet"


def settings(reach: int, short: int) -> EasyDict:
    """Of FGFA at published size. reach: K. short: the short side of its input."""
    return case("float32", reach, short).cfg


def case(name: str, reach: int, short: int) -> Case:
    """Of a contestant, which is a kind, then perhaps a variant. short: 0 for the bundled networks, on MiniVID's frames.

    Raises InputError for an unknown name.
    """
    kind, _, rest = name.partition("_")
    method, changes = variant(rest or f"fgfa_k{reach}")
    if kind not in CONTESTANTS or (rest and kind == "published"):
        raise InputError(f"{name}: unknown contestant; give {', '.join(CONTESTANTS)}, or one with a variant")
    if short:
        cfg = load_config(method.published.cfg, [f"SCALES=[{short}, {10 * short}]", *changes], method.schema)
        return Case(method, cfg, (short, round(short * 1000 / 562)))
    return Case(method, load_config(method.bundled.cfg, changes, method.schema), SMALL)


def frames(height: int, width: int):
    """An endless clip of a moving texture: BGR uint8 (height, width, 3)."""
    coarse = np.random.default_rng(0).integers(0, 255, (24, 48, 3), np.uint8)
    texture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for number in count():
        yield np.roll(texture, 4 * number, axis=1)


class TimedNetwork:
    """A network that measures its time."""

    def __init__(self, network: Network, seconds: list[float], wait: Callable[[], object]):
        self._network, self._seconds, self._wait = network, seconds, wait
        self.buffers = network.buffers

    def __call__(self, **inputs):
        self._wait()
        start = time.perf_counter()
        outputs = self._network(**inputs)
        self._wait()
        self._seconds.append(time.perf_counter() - start)
        return outputs


class Timed:
    """Wraps a precision and records the times of each network in `seconds`. wait: waits for all work on the device."""

    def __init__(self, inner: Precision, wait: Callable[[], object]):
        self._inner, self._wait = inner, wait
        self.seconds: dict[str, list[float]] = {}

    def network(self, name, build, device, args, auxs):
        network = self._inner.network(name, build, device, args, auxs)
        return TimedNetwork(network, self.seconds.setdefault(name, []), self._wait)


def precision(name: str, case: Case) -> tuple[Backend, Timed]:
    """The backend of a contestant, and its precision. Int8 ranges are measured in another process, so that its memory
    does not count.
    """
    kind = name.partition("_")[0]
    if engine(name) == "torch":
        backend = make_backend("torch", case.cfg)
        return backend, Timed(backend.precision(kind.removeprefix("torch-"), ""), lambda: None)
    from lib.backends.mxnet.functions import Compiled
    from lib.backends.mxnet.loader import mx
    from lib.backends.mxnet.precision import Int8

    backend = make_backend("mxnet", case.cfg)
    if kind != "int8":
        return backend, Timed(backend.precision(kind, ""), mx.nd.waitall)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(ranges, (case.method.name, case.cfg, case.size))
    return backend, Timed(Int8(Compiled(), found), mx.nd.waitall)


def ranges(method: str, cfg: EasyDict, size: tuple[int, int]) -> dict:
    """The ranges for int8, measured on two frames."""
    from lib.backends.mxnet.functions import Compiled
    from lib.backends.mxnet.precision import Calibration

    calibration = Calibration(Compiled())
    detect = synthetic_detector(METHODS[method], cfg, make_backend("mxnet", cfg), calibration)
    for _ in detect(frame for frame, _ in zip(frames(*size), range(2))):
        pass
    return calibration.ranges()


def synthetic_detector(
    method: Method,
    cfg: EasyDict,
    backend: Backend,
    precision: Precision,
    *,
    gpus: str = "",
    batch: int = 1,
    weights: tuple[Arrays, Arrays] | None = None,
):
    """A detector with synthetic weights. weights: (args, auxs) by `synthetic`, made here if None."""
    args, auxs = weights or synthetic(method, cfg, backend)
    (device,) = backend.devices(gpus)
    return method.detector(
        cfg=cfg, args=args, auxs=auxs, backend=backend, device=device, precision=precision, batch=batch
    )


def published(case: Case) -> Callable[[], object]:
    """As published: full-size images are concatenated, and the caches are reordered for each window."""
    cfg = case.cfg
    cfg.network.OPERATORS = "builtin"
    backend = make_backend("mxnet", cfg)
    window = Schedule.of(cfg.TEST).window
    args, auxs = synthetic(METHOD, cfg, backend)
    (device,) = backend.devices("")
    features = backend.network(lambda F: fgfa.features(F, cfg), device, args, auxs)
    detection = backend.network(lambda F: fgfa.test(F, cfg), device, args, auxs)
    source = frames(*case.size)
    first = picture(next(source), cfg)
    (maps,) = features(data=first.data).values()
    inputs = detection.buffers(
        data=first.data.shape,
        im_info=(1, 3),
        order=(1, window),
        data_cache=(window, *first.data.shape[1:]),
        feat_cache=(window, *maps.shape[1:]),
    )
    numbers = count()

    def frame():
        number = next(numbers)
        item, slot = picture(next(source), cfg), number % window
        (found,) = features(data=item.data).values()
        inputs["feat_cache"].write([slot], found)
        inputs["data_cache"].write([slot], item.data)
        inputs["data"].write([0], item.data)
        order = (np.arange(window) + number + 1) % window
        outputs = detection(order=order[None].astype(np.float32), im_info=item.im_info)
        return batch_detections(outputs, item.im_info, cfg.TEST)

    return frame


def contestant(name: str, reach: int, short: int) -> Running:
    """Raises InputError where it cannot run."""
    found = case(name, reach, short)
    if name == "published":
        return Running(published(found))
    backend, timed = precision(name, found)
    results = synthetic_detector(found.method, found.cfg, backend, timed)(frames(*found.size))
    cycle = found.method.cycle(found.cfg)
    # Windows at the start of a clip repeat frames, which is less work.
    lead = 1 + found.method.replay(found.cfg, 1000 * cycle) // cycle
    return Running(lambda: [next(results) for _ in range(cycle)], cycle, lead, timed.seconds)
