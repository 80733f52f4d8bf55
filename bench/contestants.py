"""The full-size detectors that bench.full_frame compares; each reads a frame and returns the result for one."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from itertools import count

import cv2
import numpy as np

from bench.weights import synthetic
from fgfa_rfcn import network as fgfa
from lib.backends.base import Network
from lib.backends.mxnet.backend import MXNet
from lib.backends.mxnet.functions import Compiled
from lib.backends.mxnet.loader import mx
from lib.backends.mxnet.precision import Bfloat16, Calibration, Int8, Precision
from lib.config import make_config
from lib.inference.detect import batch_detections, picture
from lib.methods import METHODS

METHOD = METHODS["fgfa_rfcn"]
CONTESTANTS = ("published", "float32", "int8", "bfloat16", "pytorch")
# Of the detectors, such as `float32_h3d3`: FLOW_HOP 3, KEY_FRAME_DURATION 3
VARIANTS = {
    f"{kind}_{'h3' if hop else ''}{f'd{duration}' if duration > 1 else ''}": (hop, duration)
    for kind in ("float32", "int8", "bfloat16")
    for hop, duration in ((3, 1), (3, 3), (3, 5), (0, 3))
}
Frame = Callable[[], object]  # reads a frame and returns the result for one


def settings(reach: int, short: int, hop: int = 0, duration: int = 1):
    test = {"KEY_FRAME_INTERVAL": reach, "FLOW_HOP": hop, "KEY_FRAME_DURATION": duration}
    return make_config({"SCALES": [short, 10 * short], "TEST": test}, METHOD.schema)


def frames_a_turn(name: str) -> int:
    """Frames between the results of a contestant: up to the next key frame, since those differ in cost."""
    return VARIANTS[name][1] if name in VARIANTS else 1


def frames(short: int):
    """An endless clip of a moving texture: BGR uint8 (short, 16 / 9 short, 3)."""
    coarse = np.random.default_rng(0).integers(0, 255, (24, 48, 3), np.uint8)
    texture = cv2.resize(coarse, (round(short * 1000 / 562), short), interpolation=cv2.INTER_CUBIC)
    for number in count():
        yield np.roll(texture, 4 * number, axis=1)


class TimedNetwork:
    """A network that measures its time."""

    def __init__(self, network: Network, seconds: list[float]):
        self._network, self._seconds = network, seconds
        self.buffers = network.buffers

    def __call__(self, **inputs):
        mx.nd.waitall()
        start = time.perf_counter()
        outputs = self._network(**inputs)
        mx.nd.waitall()
        self._seconds.append(time.perf_counter() - start)
        return outputs


class Timed(Precision):
    """Wraps a precision and records the times of each network in `seconds`."""

    def __init__(self, inner: Precision):
        self._inner = inner
        self.seconds: dict[str, list[float]] = {}

    def network(self, name, build, device, args, auxs):
        network = self._inner.network(name, build, device, args, auxs)
        return TimedNetwork(network, self.seconds.setdefault(name, []))


def precision(name: str, short: int) -> Precision:
    """The precision of a contestant. Int8 ranges are measured in another process, so that its memory does not count."""
    kind = name.partition("_")[0]
    if kind == "bfloat16":
        return Bfloat16(Compiled())
    if kind != "int8":
        return Precision(Compiled())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return Int8(Compiled(), pool.apply(ranges, (short,)))


def ranges(short: int) -> dict:
    """The ranges for int8, measured on two frames."""
    calibration = Calibration(Compiled())
    detect = synthetic_detector(1, short, calibration)
    for _ in detect(frame for frame, _ in zip(frames(short), range(2))):
        pass
    return calibration.ranges()


def synthetic_detector(reach: int, short: int, precision: Precision, hop: int = 0, duration: int = 1):
    cfg, backend = settings(reach, short, hop, duration), MXNet()
    args, auxs = synthetic(METHOD, cfg, backend)
    (device,) = backend.devices("")
    return METHOD.detector(cfg=cfg, args=args, auxs=auxs, backend=backend, device=device, precision=precision, batch=1)


def detector(name: str, reach: int, short: int, timed: Timed | None = None) -> Frame:
    run = synthetic_detector(reach, short, timed or precision(name, short), *VARIANTS.get(name, (0, 1)))(frames(short))
    return lambda: [next(run) for _ in range(frames_a_turn(name))]


def published(reach: int, short: int) -> Frame:
    """As published: full-size images are concatenated, and the caches are reordered for each window."""
    cfg, backend = settings(reach, short), MXNet("builtin")
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


def pytorch(reach: int, short: int) -> Frame:
    import torch

    from bench.torch_fgfa import TorchFgfa

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    cfg, source = settings(reach, short), frames(short)
    network = TorchFgfa(*synthetic(METHOD, cfg, MXNet()), picture(next(source), cfg).data, reach)
    return lambda: network.frame(picture(next(source), cfg).data)


def contestant(name: str, reach: int, short: int) -> Frame:
    """Raises InputError or ImportError if the contestant cannot run here."""
    if name in ("published", "pytorch"):
        return {"published": published, "pytorch": pytorch}[name](reach, short)
    return detector(name, reach, short)
