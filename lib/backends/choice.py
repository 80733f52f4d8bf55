"""Which backend the settings ask for."""

from __future__ import annotations

import functools
import importlib.util
import logging

from easydict import EasyDict

from lib.backends.base import Backend
from lib.errors import InputError

log = logging.getLogger(__name__)

_PACKAGES = {
    "mxnet": "MXNet is not installed in this Python; set backend: torch, or run sh init.sh --backend both, which needs "
    "Python 3.9 to 3.12",
    "torch": "PyTorch is not installed in this Python; run sh init.sh --backend both",
}


def backend_of(cfg: EasyDict) -> Backend:
    """The backend of the settings; `backend: auto` takes MXNet where it is installed, else PyTorch.

    Raises InputError where it is not installed, or MXNET_VERSION names a package that is not there.
    """
    return make_backend(_chosen(cfg), cfg)


def make_backend(name: str, cfg: EasyDict) -> Backend:
    """The backend "mxnet" or "torch". An engine is imported only here, so that the other need not be installed."""
    if name == "torch":
        _check(name)
        if cfg.network.OPERATORS != "compiled":
            raise InputError(f"network.OPERATORS: {cfg.network.OPERATORS} needs the MXNet backend; set it to compiled")
        if cfg.default.kvstore.startswith("dist"):
            raise InputError(
                f"default.kvstore: {cfg.default.kvstore} needs the MXNet backend; with PyTorch, start the processes "
                "with torchrun, and set it to device"
            )
        from lib.backends.torch.backend import Torch

        return Torch()
    from lib.backends.mxnet.backend import MXNet
    from lib.backends.mxnet.loader import select

    select(cfg.MXNET_VERSION)
    _check(name)
    return MXNet(cfg.network.OPERATORS, cfg.default.kvstore)


def _chosen(cfg: EasyDict) -> str:
    if cfg.backend != "auto":
        return cfg.backend
    if cfg.MXNET_VERSION not in ("", "mxnet"):
        return "mxnet"
    name = automatic()
    if name == "torch":
        _say_torch()
    return name


@functools.cache
def _say_torch() -> None:
    log.info("backend: PyTorch (MXNet is not installed)")


def automatic() -> str:
    """What `backend: auto` takes. Raises InputError where neither backend is installed."""
    if _installed("mxnet"):
        return "mxnet"
    if not _installed("torch"):
        raise InputError(
            "backend: neither MXNet nor PyTorch is installed in this Python; run sh init.sh, with --backend torch for "
            "PyTorch"
        )
    return "torch"


def _check(name: str) -> None:
    if not _installed(name):
        raise InputError(f"backend: {_PACKAGES[name]}")


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
