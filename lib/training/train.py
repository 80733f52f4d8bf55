"""Training a detector: its symbol and frames come from the method, the rest is here."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import numpy as np
from easydict import EasyDict

from lib.backends.mxnet.optimizers import Sgd
from lib.backends.mxnet.runtime import TrainStep, devices
from lib.bbox.anchors import base_anchors
from lib.bbox.assign import assign
from lib.cli.setup import classes_of, keep_config
from lib.dataset.imagenet_vid import train_entries, training_index
from lib.dataset.loader import Frames, TrainLoader, single_frame
from lib.nets import params
from lib.nets.flownet import is_flow_layer
from lib.training.checkpoints import Checkpoint, Checkpoints, with_test_weights
from lib.training.fit import fit, log_file
from lib.training.schedules import step_decay

log = logging.getLogger(__name__)

# Layers that a pretrained backbone or flow network does not bring.
NEW_LAYERS = ("feat_conv_3x3", "em_conv", "rpn_", "rfcn_")


def train(cfg: EasyDict, symbol, folder: Path, pretrained: list[str], frames: Frames = single_frame) -> Path:
    """Trains `symbol` by the settings -> its last weights, in `folder` with log, settings, states and loss curves.

    pretrained: parameter files that training starts from; what they lack of NEW_LAYERS starts anew. frames: the
    pictures of a training example. TRAIN.RESUME goes on from the newest checkpoint in the folder.
    """
    contexts = devices(cfg.gpus)
    loader = make_loader(cfg, len(contexts), frames)
    checkpoints = Checkpoints(folder / cfg.TRAIN.model_prefix, functools.partial(_with_test, cfg=cfg))
    resumed = checkpoints.newest() if cfg.TRAIN.RESUME else None
    wanted, wanted_auxs = _shapes(symbol, loader)
    if resumed:
        args, auxs, new = resumed.args, resumed.auxs, []
        params.check({**args, **auxs}, {**wanted, **wanted_auxs}, f"checkpoint in {folder}")
    else:
        args, auxs, new = starting_point(cfg, wanted, wanted_auxs, pretrained)
    keep_config(cfg, folder)
    with log_file(folder / "train.log"):
        log.info("new layers: %s", ", ".join(new) or "none")
    step = TrainStep(symbol, contexts, args, auxs, trainable(args, cfg.network.FIXED_PARAMS), optimizer(cfg))
    return _fit(cfg, step, loader, checkpoints, resumed)


def _fit(cfg: EasyDict, step: TrainStep, loader: TrainLoader, checkpoints: Checkpoints, resumed: Checkpoint | None):
    settings = cfg.TRAIN
    schedule = step_decay(
        settings.lr,
        settings.lr_step,
        len(loader),
        warmup=settings.warmup,
        warmup_lr=settings.warmup_lr,
        warmup_step=settings.warmup_step,
    )
    return fit(
        step,
        loader,
        schedule=schedule,
        begin_epoch=settings.begin_epoch,
        end_epoch=settings.end_epoch,
        checkpoints=checkpoints,
        resumed=resumed,
        frequent=cfg.default.frequent,
    )


def make_loader(cfg: EasyDict, device_count: int, frames: Frames) -> TrainLoader:
    """Training examples of the settings' image sets."""
    net, settings = cfg.network, cfg.TRAIN
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
        short=cfg.SCALES[0],
        long=cfg.SCALES[1],
        pixel_means_bgr=net.PIXEL_MEANS,
        devices=device_count,
        flip=settings.FLIP,
        shuffle=settings.SHUFFLE,
        aspect_grouping=settings.ASPECT_GROUPING,
        seed=settings.SEED,
        frames=frames,
    )


def _shapes(symbol, loader: TrainLoader) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """Shapes of the symbol's parameters, by the first batch."""
    batch = loader.batch(0, 0, int(loader.order(0)[0, 0, 0]), False)
    return params.shapes_of(symbol, **{name: value.shape for name, value in batch.items()})


def starting_point(
    cfg: EasyDict, wanted: dict[str, tuple], wanted_auxs: dict[str, tuple], pretrained: list[str]
) -> tuple[dict, dict, list[str]]:
    """Parameters of these shapes to begin with: (args, auxs, those that start anew).

    Those are told by name, with the shape that the files have where it is another, as with other classes.
    """
    args: dict[str, np.ndarray] = {}
    auxs: dict[str, np.ndarray] = {}
    for path in pretrained:
        more_args, more_auxs = params.load(path)
        args.update(params.for_training(more_args))
        auxs.update(more_auxs)
    values, new = params.start(wanted, args, cfg.TRAIN.SEED, NEW_LAYERS)
    new = [f"{name} {wanted[name]} in place of {tuple(args[name].shape)}" if name in args else name for name in new]
    return values, params.start(wanted_auxs, auxs, cfg.TRAIN.SEED, ())[0], new


def trainable(names: dict, fixed: list[str]) -> set[str]:
    """Parameters that training changes: those whose names start with none of `fixed`."""
    return {name for name in names if not name.startswith(tuple(fixed))}


def optimizer(cfg: EasyDict) -> Sgd:
    """SGD with momentum; the flow network's rate is multiplied by FLOW_LR_FACTOR."""
    factor = cfg.TRAIN.FLOW_LR_FACTOR
    return Sgd(
        momentum=cfg.TRAIN.momentum,
        wd=cfg.TRAIN.wd,
        clip_norm=cfg.TRAIN.CLIP_GRADIENT,
        lr_factor=lambda name: factor if is_flow_layer(name) else 1.0,
    )


def _with_test(args: dict, cfg: EasyDict) -> dict:
    return with_test_weights(args, means=cfg.TRAIN.BBOX_MEANS, stds=cfg.TRAIN.BBOX_STDS, bins=cfg.network.PSROI_SIZE**2)
