"""Training of the frame baseline."""

from __future__ import annotations

from pathlib import Path

from easydict import EasyDict

from lib.training import train as engine
from rfcn.network import train_symbol


def train(cfg: EasyDict, folder: Path) -> Path:
    """Trains R-FCN by the settings, from the pretrained backbone -> its last weights, in `folder`."""
    backbone = f"{cfg.network.pretrained}-{cfg.network.pretrained_epoch:04d}.params"
    return engine.train(cfg, train_symbol(cfg), folder, [backbone])
