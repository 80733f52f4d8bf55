"""What the stages of pre-training share: training a network from nothing on one device."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from easydict import EasyDict

from lib.backends.base import Adam, Build, Sgd
from lib.backends.choice import backend_of
from lib.nets import params
from lib.training.checkpoints import Checkpoints
from lib.training.fit import Loader, fit
from lib.training.metrics import Metrics
from lib.training.schedules import Schedule


def pretrain(
    cfg: EasyDict,
    settings: EasyDict,
    prefix: Path,
    network: Build,
    loader: Loader,
    rules: Sgd | Adam,
    schedule: Callable[[float, int], Schedule],
    metrics: Metrics,
    stopped: threading.Event | None,
    dropped: tuple[str, ...] = (),
) -> Path:
    """Trains all parameters for `settings.steps` steps -> the weights, `<prefix>-0000.params`.

    schedule: of (`settings.lr`, number of steps). dropped: layers that are not written, by prefix of their names.
    """
    epochs = max(1, round(settings.steps / len(loader)))
    backend = backend_of(cfg)
    batch = next(loader.epoch(0))[0]
    shapes = backend.shapes(network, **{name: value.shape for name, value in batch.items()})
    checkpoints = Checkpoints(prefix.parent / "training" / prefix.name)
    resumed = checkpoints.newest() if cfg.TRAIN.RESUME else None
    if resumed:
        args, auxs = resumed.args, resumed.auxs
    else:
        args, auxs = (params.from_scratch(part, cfg.TRAIN.SEED) for part in shapes)
    trainer = backend.trainer(network, backend.devices(cfg.gpus)[:1], args, auxs, args, rules)
    fit(
        trainer,
        loader,
        schedule=schedule(settings.lr, epochs * len(loader)),
        end_epoch=epochs,
        checkpoints=checkpoints,
        metrics=metrics,
        resumed=resumed,
        frequent=cfg.default.frequent,
        stopped=stopped,
    )
    args, auxs = trainer.params()
    path = prefix.with_name(f"{prefix.name}-0000.params")
    params.save(path, {name: value for name, value in args.items() if not name.startswith(dropped)}, auxs)
    return path
