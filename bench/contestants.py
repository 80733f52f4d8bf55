"""The full-size detectors that bench.full_frame compares; each reads a frame and returns the result for one."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from itertools import count

import cv2
import numpy as np

from bench.weights import synthetic
from fgfa_rfcn import network as fgfa
from lib.backends.base import Arrays, Backend, Network, Precision
from lib.backends.choice import make_backend
from lib.config import make_config
from lib.inference.detect import batch_detections, picture
from lib.methods import METHODS

METHOD = METHODS["fgfa_rfcn"]
CONTESTANTS = ("published", "float32", "int8", "bfloat16", "torch-float32", "torch-bfloat16")
Frame = Callable[[], object]  # reads a frame and returns the result for one


def engine(name: str) -> str:
    """The package that a contestant needs."""
    return "torch" if name.startswith("torch-") else "mxnet"


def settings(reach: int, short: int):
    return make_config({"SCALES": [short, 10 * short], "TEST": {"KEY_FRAME_INTERVAL": reach}}, METHOD.schema)


def frames(short: int, width: int = 0):
    """An endless clip of a moving texture: BGR uint8 (short, width, 3), by default in the ratio of 562 x 1000."""
    coarse = np.random.default_rng(0).integers(0, 255, (24, 48, 3), np.uint8)
    texture = cv2.resize(coarse, (width or round(short * 1000 / 562), short), interpolation=cv2.INTER_CUBIC)
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


def precision(name: str, short: int) -> tuple[Backend, Timed]:
    """The backend of a contestant, and its precision. Int8 ranges are measured in another process, so that its memory
    does not count.
    """
    if engine(name) == "torch":
        backend = make_backend("torch", settings(0, short))
        return backend, Timed(backend.precision(name.removeprefix("torch-"), ""), lambda: None)
    from lib.backends.mxnet.functions import Compiled
    from lib.backends.mxnet.loader import mx
    from lib.backends.mxnet.precision import Int8

    backend = make_backend("mxnet", settings(0, short))
    if name != "int8":
        return backend, Timed(backend.precision(name, ""), mx.nd.waitall)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return backend, Timed(Int8(Compiled(), pool.apply(ranges, (short,))), mx.nd.waitall)


def ranges(short: int) -> dict:
    """The ranges for int8, measured on two frames."""
    from lib.backends.mxnet.functions import Compiled
    from lib.backends.mxnet.precision import Calibration

    calibration = Calibration(Compiled())
    detect = synthetic_detector(1, short, make_backend("mxnet", settings(1, short)), calibration)
    for _ in detect(frame for frame, _ in zip(frames(short), range(2))):
        pass
    return calibration.ranges()


def synthetic_detector(
    reach: int,
    short: int,
    backend: Backend,
    precision: Precision,
    *,
    gpus: str = "",
    batch: int = 1,
    weights: tuple[Arrays, Arrays] | None = None,
):
    """A detector of the published size. weights: (args, auxs) by `synthetic`, made here if None."""
    cfg = settings(reach, short)
    args, auxs = weights or synthetic(METHOD, cfg, backend)
    (device,) = backend.devices(gpus)
    return METHOD.detector(
        cfg=cfg, args=args, auxs=auxs, backend=backend, device=device, precision=precision, batch=batch
    )


def published(reach: int, short: int) -> Frame:
    """As published: full-size images are concatenated, and the caches are reordered for each window."""
    cfg = settings(reach, short)
    cfg.network.OPERATORS = "builtin"
    backend = make_backend("mxnet", cfg)
    window = fgfa.window_frames(cfg)
    args, auxs = synthetic(METHOD, cfg, backend)
    (device,) = backend.devices("")
    features = backend.network(lambda F: fgfa.features(F, cfg), device, args, auxs)
    detection = backend.network(lambda F: fgfa.test(F, cfg), device, args, auxs)
    source = frames(short)
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


def contestant(name: str, reach: int, short: int) -> tuple[Frame, dict[str, list[float]]]:
    """A contestant, and the seconds of its networks, to which each run adds. Raises InputError where it cannot run."""
    if name == "published":
        return published(reach, short), {}
    backend, timed = precision(name, short)
    run = synthetic_detector(reach, short, backend, timed)(frames(short))
    return lambda: next(run), timed.seconds
