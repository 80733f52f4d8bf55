"""Trains a detector. Its losses and examples come from the method."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from easydict import EasyDict

from lib.backends.base import Backend, Processes, Sgd, Shape
from lib.backends.choice import backend_of
from lib.backends.functions import Functions
from lib.bbox.anchors import base_anchors
from lib.bbox.assign import assign
from lib.config import pairs
from lib.dataset.augment import Augmentation
from lib.dataset.imagenet_vid import train_entries, training_index
from lib.dataset.loader import Frames, TrainLoader
from lib.files import locked
from lib.method import Method
from lib.nets import params
from lib.nets.flownet import is_flow_layer
from lib.settings import classes_of, keep_config
from lib.training.checkpoints import Checkpoints, with_test_weights
from lib.training.fit import fit
from lib.training.reporters import Reporter, TensorBoard, callback
from lib.training.schedules import step_decay
from lib.training.together import check_settings, check_start, shared
from lib.training.validation import Validator
from lib.training.watch import Watch

log = logging.getLogger(__name__)


def train(
    cfg: EasyDict,
    method: Method,
    folder: Path,
    *,
    backend: Backend | None = None,
    stopped: threading.Event | None = None,
    allow_callback: bool = False,
) -> Path:
    """Trains a method and returns the path of its final weights in `folder`.

    Also writes the settings, states and loss curves there. New layers of the method that its pretrained files lack
    start from scratch. With TRAIN.RESUME, training continues from the newest checkpoint in the folder. Of several
    processes, only the first reads and writes this folder, which the others need not see. allow_callback: whether the
    function that TRAIN.CALLBACK names may run. Raises InputError if another training writes to the folder, or has
    written to it and TRAIN.RESUME is not set.
    """
    for warning in method.advise(cfg):
        log.warning(warning)
    reporter = callback(cfg.TRAIN.CALLBACK, allow_callback) if cfg.TRAIN.CALLBACK else None
    backend = backend or backend_of(cfg)
    with contextlib.ExitStack() as stack:
        processes = stack.enter_context(backend.processes(cfg.gpus))
        if not processes.rank:
            stack.enter_context(locked(folder))
            if not cfg.TRAIN.RESUME:
                Checkpoints(folder / cfg.TRAIN.model_prefix).check_unused()
        return _Job(cfg, method, folder, backend, processes, stopped, reporter).run()


@dataclass(frozen=True)
class _Job:
    """The training of this process."""

    cfg: EasyDict
    method: Method
    folder: Path
    backend: Backend
    processes: Processes
    stopped: threading.Event | None
    reporter: Reporter | None

    def run(self) -> Path:
        cfg, settings, processes = self.cfg, self.cfg.TRAIN, self.processes
        check_settings(processes, cfg)
        if processes.rank:
            processes.total(np.zeros(1))  # until the first process has written the cache of the annotations
        loader = make_loader(cfg, processes, self.method.sample(cfg))
        if not processes.rank:
            processes.total(np.zeros(1))
        checkpoints = Checkpoints(self.folder / settings.model_prefix, functools.partial(_with_test, cfg=cfg))
        resumed = shared(processes, checkpoints.newest) if settings.RESUME else None
        batch = loader.batch(0, 0, int(loader.order(0)[0, 0, 0]), False)
        wanted, wanted_auxs = self.backend.shapes(self._losses, **{name: value.shape for name, value in batch.items()})
        new: list[str] = []
        if resumed:
            args, auxs = resumed.args, resumed.auxs
            params.check({**args, **auxs}, {**wanted, **wanted_auxs}, f"checkpoint in {self.folder}")
        else:
            args, auxs, new = starting_point(cfg, self.method, wanted, wanted_auxs)
        check_start(processes, loader, {**args, **auxs})
        if not processes.rank:
            keep_config(cfg, self.folder)
        log.info("new layers: %s", ", ".join(new) or "none")
        rules = optimizer(cfg, self.method.lr_factors)
        trainer = self.backend.trainer(
            self._losses,
            processes.devices,
            args,
            auxs,
            {name for name in trainable(args, cfg.network.FIXED_PARAMS) if rules.lr_factor(name)},
            rules,
            precision=settings.PRECISION,
            processes=processes,
        )
        return fit(
            trainer,
            loader,
            watch=self._watch(len(loader), resumed.epoch * len(loader) + resumed.step if resumed else 0),
            schedule=step_decay(
                settings.lr,
                settings.lr_step,
                len(loader),
                warmup=settings.warmup,
                warmup_lr=settings.warmup_lr,
                warmup_step=settings.warmup_step,
            ),
            begin_epoch=settings.begin_epoch,
            end_epoch=settings.end_epoch,
            checkpoints=checkpoints,
            resumed=resumed,
            frequent=cfg.default.frequent,
            stopped=self.stopped,
            processes=processes,
            average=settings.EMA,
        )

    def _losses(self, F: Functions) -> dict:
        return self.method.losses(F, self.cfg)

    def _watch(self, steps: int, position: int) -> Watch:
        """The validations and reporters of the settings. steps: of an epoch; position: those before this run."""
        settings = self.cfg.TRAIN
        every = max(round(settings.VALIDATE * steps), 1) if settings.VALIDATE else 0
        if self.processes.rank:
            return Watch(every)
        reporters = [self.reporter] if self.reporter else []
        if settings.TENSORBOARD:
            reporters.append(TensorBoard(self.folder / "tensorboard", position))
        device = self.processes.devices[0]
        evaluate = Validator(self.cfg, self.method, self.backend, device, self.folder) if every else None
        return Watch(every, evaluate, reporters, settings.EARLY_STOP)


def make_loader(cfg: EasyDict, processes: Processes, frames: Frames, *, workers: int = 2) -> TrainLoader:
    """The loader of this process's training examples in the settings' image sets. workers: number of threads."""
    net, settings, own = cfg.network, cfg.TRAIN, len(processes.devices)
    root = Path(cfg.dataset.dataset_path)
    entries = train_entries(root, cfg.dataset.image_set)
    index = training_index(root, entries, classes_of(cfg), cache=Path(cfg.output_path) / "cache")
    labels = functools.partial(
        assign,
        base=base_anchors(net.RPN_FEAT_STRIDE, net.ANCHOR_RATIOS, net.ANCHOR_SCALES),
        stride=net.RPN_FEAT_STRIDE,
        stds=net.ANCHOR_STDS,
        batch_size=settings.RPN_BATCH_SIZE,
        foreground_fraction=settings.RPN_FG_FRACTION,
        positive_overlap=settings.RPN_POSITIVE_OVERLAP,
        negative_overlap=settings.RPN_NEGATIVE_OVERLAP,
        clobber_positives=settings.RPN_CLOBBER_POSITIVES,
        bbox_weights=settings.RPN_BBOX_WEIGHTS,
    )
    return TrainLoader(
        entries,
        index,
        assign=labels,
        stride=net.RPN_FEAT_STRIDE,
        scales=pairs(cfg.SCALES),
        pixel_means_bgr=net.PIXEL_MEANS,
        devices=processes.count * own,
        own=range(processes.rank * own, (processes.rank + 1) * own),
        flip=settings.FLIP,
        shuffle=settings.SHUFFLE,
        aspect_grouping=settings.ASPECT_GROUPING,
        seed=settings.SEED,
        frames=frames,
        workers=workers,
        augmentation=Augmentation(**{name.lower(): limit for name, limit in settings.AUGMENT.items()}),
    )


def starting_point(
    cfg: EasyDict, method: Method, wanted: Mapping[str, Shape], wanted_auxs: Mapping[str, Shape]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
    """Initial parameters of these shapes: (args, auxs, names of those that start from scratch).

    If the pretrained files have such a parameter in another shape, for example for other classes, its entry says so.
    """
    args: dict[str, np.ndarray] = {}
    auxs: dict[str, np.ndarray] = {}
    for path in method.pretrained(cfg):
        more_args, more_auxs = params.load(path)
        args.update(params.for_training(more_args))
        auxs.update(more_auxs)
    values, new = params.start(wanted, args, cfg.TRAIN.SEED, method.new_layers)
    new = [f"{name} {wanted[name]} in place of {args[name].shape}" if name in args else name for name in new]
    return values, params.start(wanted_auxs, auxs, cfg.TRAIN.SEED, {})[0], new


def trainable(names: Iterable[str], fixed: Iterable[str]) -> set[str]:
    """Parameters that training changes: those whose names start with none of `fixed`."""
    return {name for name in names if not name.startswith(tuple(fixed))}


def optimizer(cfg: EasyDict, factors: Mapping[str, float] = MappingProxyType({})) -> Sgd:
    """SGD with momentum. The learning rate of a parameter in `factors` is multiplied by its factor, that of the rest of
    the flow network by FLOW_LR_FACTOR.
    """
    flow = cfg.TRAIN.get("FLOW_LR_FACTOR", 1.0)
    return Sgd(
        momentum=cfg.TRAIN.momentum,
        wd=cfg.TRAIN.wd,
        clip_norm=cfg.TRAIN.CLIP_GRADIENT,
        lr_factor=lambda name: factors.get(name, flow if is_flow_layer(name) else 1.0),
    )


def _with_test(args: dict, cfg: EasyDict) -> dict:
    return with_test_weights(args, means=cfg.TRAIN.BBOX_MEANS, stds=cfg.TRAIN.BBOX_STDS, bins=cfg.network.PSROI_SIZE**2)
