"""Training a backbone from nothing, as a classifier of rendered objects."""

from __future__ import annotations

import functools
import threading
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from easydict import EasyDict
from tqdm import tqdm

from lib.backends.base import Sgd
from lib.backends.functions import Functions
from lib.dataset.index import parallel
from lib.machine import cores
from lib.minivid.crops import crops
from lib.minivid.pretrain import pretrain
from lib.minivid.settings import check_pool
from lib.nets.resnet import Backbone, classifier
from lib.nets.sizes import backbone
from lib.training.schedules import one_cycle

CHUNK = 128  # crops that a worker makes at a time


def _crops(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    return crops(np.random.default_rng(seed), CHUNK, size)


class CropLoader:
    """Steps of classification: crops from a pool, mirrored at random; step p of epoch e follows from (seed, e, p)."""

    def __init__(self, cfg: EasyDict):
        settings = cfg.BACKBONE
        self._batch, self._seed = settings.batch, cfg.TRAIN.SEED
        self._means = np.float32(cfg.network.PIXEL_MEANS)
        chunks = -(-settings.pool // CHUNK)
        check_pool("BACKBONE", chunks * CHUNK, settings.batch, 3 * settings.crop**2)
        seeds = [self._seed * chunks + number for number in range(chunks)]
        made = parallel(functools.partial(_crops, size=settings.crop), seeds, cores())
        parts = list(tqdm(made, total=chunks, desc=f"crops x {CHUNK}", disable=None))
        self._images = np.concatenate([images for images, _ in parts])
        self._labels = np.concatenate([labels for _, labels in parts])

    def __len__(self) -> int:
        return len(self._labels) // self._batch

    def epoch(self, epoch: int, start: int = 0) -> Generator[list[dict[str, np.ndarray]], None, None]:
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._labels))
        for step in range(start, len(self)):
            rows = order[step * self._batch :][: self._batch]
            mirrored = np.random.default_rng((self._seed, epoch, step)).random(len(rows)) < 0.5
            images = self._images[rows]
            images[mirrored] = images[mirrored, :, ::-1]
            data = (images - self._means)[..., ::-1].transpose(0, 3, 1, 2)
            yield [{"data": data, "label": self._labels[rows].astype(np.float32)}]


def _metrics(outputs: Mapping, batch: Mapping) -> dict[str, tuple[float, float]]:
    prob, label = outputs["softmax"], batch["label"].astype(np.int64)
    of_label = np.maximum(prob[np.arange(len(label)), label], 1e-14)
    count = float(len(label))
    return {
        "Acc": (float((prob.argmax(axis=1) == label).sum()), count),
        "LogLoss": (float(-np.log(of_label).sum()), count),
    }


def train_backbone(cfg: EasyDict, prefix: Path, stopped: threading.Event | None = None) -> Path:
    """Trains the backbone of `cfg` for BACKBONE.steps steps -> `<prefix>-0000.params`, without the classifier."""
    sizes = replace(backbone(cfg, Backbone.eps), batch_statistics=True)

    def network(F: Functions) -> dict:
        return classifier(F, sizes, cfg.dataset.NUM_CLASSES)

    settings, loader = cfg.BACKBONE, CropLoader(cfg)
    rules = Sgd(wd=settings.wd)
    return pretrain(cfg, settings, prefix, network, loader, rules, one_cycle, _metrics, stopped, dropped=("fc_",))
