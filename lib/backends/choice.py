"""Which backend the settings ask for."""

from __future__ import annotations

from easydict import EasyDict

from lib.backends.base import Backend
from lib.backends.mxnet.backend import MXNet
from lib.backends.mxnet.loader import select


def backend_of(cfg: EasyDict) -> Backend:
    """The backend of the settings. Raises InputError where MXNET_VERSION names one that is not there."""
    select(cfg.MXNET_VERSION)
    return MXNet(cfg.network.OPERATORS)
