"""Training of flow-guided feature aggregation, end to end."""

from __future__ import annotations

import logging
from pathlib import Path

from easydict import EasyDict

from fgfa_rfcn.frames import Neighbours
from fgfa_rfcn.network import train_symbol
from lib.training import train as engine

log = logging.getLogger(__name__)


def train(cfg: EasyDict, folder: Path) -> Path:
    """Trains FGFA by the settings, from the pretrained backbone and flow network -> its last weights, in `folder`."""
    net, settings, reach = cfg.network, cfg.TRAIN, cfg.TEST.KEY_FRAME_INTERVAL
    if (settings.MIN_OFFSET, settings.MAX_OFFSET) != (-reach, reach):
        log.warning(
            "training draws neighbours from %d..%d, but TEST.KEY_FRAME_INTERVAL %d aggregates %d..%d",
            settings.MIN_OFFSET,
            settings.MAX_OFFSET,
            reach,
            -reach,
            reach,
        )
    pretrained = [f"{net.pretrained}-{net.pretrained_epoch:04d}.params"]
    if settings.WARP:
        pretrained.append(f"{net.pretrained_flow}-0000.params")
    frames = Neighbours(settings.MIN_OFFSET, settings.MAX_OFFSET)
    return engine.train(cfg, train_symbol(cfg), folder, pretrained, frames)
