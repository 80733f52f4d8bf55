"""Training the flow network on pairs with true flow, and measuring it on clips of the validation set."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Generator, Mapping
from pathlib import Path

import numpy as np
from easydict import EasyDict
from tqdm import tqdm

from lib.backends.base import Adam
from lib.backends.choice import backend_of
from lib.backends.functions import Functions
from lib.dataset.index import parallel
from lib.errors import InputError
from lib.machine import cores
from lib.minivid.flow import frame_pair, random_pair
from lib.minivid.pretrain import pretrain
from lib.minivid.scene import scene_of
from lib.minivid.settings import Settings, check_pool
from lib.nets import params
from lib.nets.flownet import FlowNet, flow, pretraining_losses
from lib.nets.sizes import flownet
from lib.training.schedules import cosine

log = logging.getLogger(__name__)

DISTANCES = (1, 4, 9)  # frames apart, at which the end-point error is reported


def _strides(net: FlowNet) -> list[int]:
    """Pixels a cell of each scale, the finest first."""
    doubled = 2 if net.pool_input else 1
    coarser = [doubled << level for level in range(3, len(net.encoder) + 1)]
    return [4 * doubled * (2 if net.pool_output else 1), *coarser]


def sampled(field: np.ndarray, stride: int) -> np.ndarray:
    """A field (..., H, W) at the centres of feature cells: (..., ceil(H / stride), ceil(W / stride))."""
    return field[..., ::stride, ::stride]


def _pair(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """images (2, 3, H, W) uint8 RGB, flow in pixels (2, h, w) float16 and moving (h, w) at every fourth pixel."""
    # Matching is learned on sharp pairs, and kept up on degraded ones.
    pair = random_pair(np.random.default_rng(seed), height, width, degraded=seed % 2 == 1)
    images = np.stack([image[:, :, ::-1].transpose(2, 0, 1) for image in (pair.image_a, pair.image_b)])
    return images, sampled(pair.flow, 4).astype(np.float16), sampled(pair.moving, 4)


class PairLoader:
    """Steps of flow pre-training: batches of made-up pairs from a pool, mirrored and recoloured at random.

    What step p of epoch e shows follows from (seed, e, p).
    """

    def __init__(self, net: FlowNet, settings: Settings, cfg: EasyDict):
        pool = cfg.FLOW.pool
        check_pool("FLOW", pool, cfg.FLOW.batch, 6 * settings.height * settings.width)
        self._strides, self._cfg = _strides(net), cfg
        self._means = np.float32(cfg.network.PIXEL_MEANS[::-1]).reshape(3, 1, 1)
        make = functools.partial(_pair, height=settings.height, width=settings.width)
        seeds = [cfg.TRAIN.SEED * pool + number for number in range(pool)]
        self._pool = list(tqdm(parallel(make, seeds, cores()), total=pool, desc="flow pairs", disable=None))

    def __len__(self) -> int:
        return len(self._pool) // self._cfg.FLOW.batch

    def epoch(self, epoch: int, start: int = 0) -> Generator[list[dict[str, np.ndarray]], None, None]:
        order = np.random.default_rng((self._cfg.TRAIN.SEED, epoch)).permutation(len(self._pool))
        for step in range(start, len(self)):
            rows = order[step * self._cfg.FLOW.batch :][: self._cfg.FLOW.batch]
            yield [self._batch(rows, np.random.default_rng((self._cfg.TRAIN.SEED, epoch, step)))]

    def _batch(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        shown = [self._varied(self._pool[row], rng) for row in rows]
        images = np.stack([item[0] for item in shown]).astype(np.float32) - self._means
        batch = {"current": images[:, 0], "other": images[:, 1]}
        cells = np.stack([item[1] for item in shown]).astype(np.float32) / self._strides[0]
        moving = np.stack([item[2] for item in shown])[:, None]
        weight = np.where(moving, np.float32(self._cfg.FLOW.moving_weight), np.float32(1))
        for scale, stride in enumerate(self._strides):
            batch[f"flow{scale}"] = sampled(cells, stride // 4)
            batch[f"weight{scale}"] = sampled(weight, stride // 4)
        return batch

    @staticmethod
    def _varied(pair: tuple, rng: np.random.Generator) -> tuple:
        """The pair, its colours exchanged, flipped left to right, top to bottom, both or not; the flow follows."""
        images, field, moving = pair
        images = images[:, rng.permutation(3)]
        for axis, channel in ((-1, 0), (-2, 1)):
            if rng.random() < 0.5:
                images, field, moving = (np.flip(array, axis) for array in (images, field, moving))
                sign = np.ones((2, 1, 1), np.float16)
                sign[channel] = -1
                field = field * sign
        return images, field, moving


def _metrics(outputs: Mapping, batch: Mapping) -> dict[str, tuple[float, float]]:
    """End-point error in cells over moving objects, that of zero flow there, and over everything."""
    truth = batch["flow0"]
    error = np.linalg.norm(outputs["flow"] - truth, axis=1)
    moving = batch["weight0"][:, 0] > 1
    count = float(moving.sum())
    return {
        "EPE": (float(error.sum()), float(error.size)),
        "EPEMoving": (float(error[moving].sum()), count),
        "ZeroMoving": (float(np.linalg.norm(truth, axis=1)[moving].sum()), count),
    }


def train_flow(cfg: EasyDict, prefix: Path, stopped: threading.Event | None = None) -> Path:
    """Trains the flow network of `cfg` for FLOW.steps steps -> its weights, `<prefix>-0000.params`."""
    net, settings = flownet(cfg), Settings.load(Path(cfg.dataset.dataset_path))
    loader = PairLoader(net, settings, cfg)
    scales = len(_strides(net))

    def network(F: Functions) -> dict:
        return pretraining_losses(F, net, [1.0, *(0.5**scale for scale in range(1, scales))])

    return pretrain(cfg, cfg.FLOW, prefix, network, loader, Adam(clip_norm=10.0), cosine, _metrics, stopped)


def flow_errors(
    cfg: EasyDict, args: Mapping, clips: int = 60, pairs: int = 4, degraded: bool = True
) -> dict[str, dict[str, float]]:
    """End-point error in cells on moving objects of validation clips, and that of zero flow, by frames apart.

    -> {"1": {"epe": …, "zero": …, "ratio": …}, "4": …, "9": …}. Every clip gives `pairs` pairs a distance, as they are
    or, unless `degraded`, sharp and clean. Raises InputError for weights of another network or whose flow is not
    finite, and for a dataset whose clips are too short.
    """
    net, settings = flownet(cfg), Settings.load(Path(cfg.dataset.dataset_path))
    if settings.val < 1 or settings.frames <= max(DISTANCES):
        raise InputError(
            f"{cfg.dataset.dataset_path}: has {settings.val} validation clips of {settings.frames} frames, but clips "
            f"of more than {max(DISTANCES)} are needed; make them with python -m lib.dataset.minivid"
        )
    stride = _strides(net)[0]
    backend = backend_of(cfg)

    def network(F: Functions) -> dict:
        return {"flow": flow(F, F.Variable("current"), F.Variable("other"), net)}

    shape = (1, 3, settings.height, settings.width)
    wanted, _ = backend.shapes(network, current=shape, other=shape)
    params.check({name: args[name] for name in wanted if name in args}, wanted, "the flow network")
    forward = backend.network(network, backend.devices(cfg.gpus)[0], args, {})
    means = np.float32(cfg.network.PIXEL_MEANS)
    sums = {distance: np.zeros(3) for distance in DISTANCES}
    for clip in tqdm(range(min(clips, settings.val)), desc="flow error", disable=None):
        scene = scene_of(settings, "val", clip)
        rng = np.random.default_rng(clip)
        for distance in DISTANCES:
            for first in rng.integers(0, settings.frames - distance, pairs):
                pair = frame_pair(scene, int(first), int(first) + distance, degraded)
                images = [
                    (image - means)[:, :, ::-1].transpose(2, 0, 1)[None] for image in (pair.image_i, pair.image_j)
                ]
                found = np.asarray(forward(current=images[0], other=images[1])["flow"])[0]
                truth = sampled(pair.flow, stride) / stride
                moving = sampled(pair.moving, stride)
                error = np.linalg.norm(found - truth, axis=0)[moving]
                zero = np.linalg.norm(truth, axis=0)[moving]
                sums[distance] += (error.sum(), zero.sum(), moving.sum())
    if not all(np.isfinite(values).all() for values in sums.values()):
        raise InputError("the flow of these weights is not finite: training diverged or the file is damaged")
    if not all(zero for _, zero, _ in sums.values()):
        raise InputError(f"{cfg.dataset.dataset_path}: nothing moves in its validation clips; make more of them")
    return {
        str(distance): {"epe": total / count, "zero": zero / count, "ratio": total / zero}
        for distance, (total, zero, count) in sums.items()
    }
