"""Selects the backend."""

from __future__ import annotations

from easydict import EasyDict

from lib.backends.base import Backend
from lib.backends.mxnet.backend import MXNet
from lib.backends.mxnet.loader import select


def backend_of(cfg: EasyDict) -> Backend:
    """The backend of the settings. Raises InputError if the MXNet of MXNET_VERSION does not exist."""
    select(cfg.MXNET_VERSION)
    return MXNet(cfg.network.OPERATORS)
