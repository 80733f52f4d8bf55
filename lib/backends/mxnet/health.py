"""Information about the installed MXNet, and a test that it works, for `lib.doctor`."""

from __future__ import annotations

from typing import NamedTuple

from lib.backends.mxnet.loader import mx

_FEATURES = ("CUDA", "CUDNN", "NCCL", "MKLDNN", "OPENMP", "BLAS_OPEN", "BLAS_MKL")


class Engine(NamedTuple):
    """file: path of the package. features: those it was built with. gpus: number of GPUs it sees."""

    version: str
    file: str
    features: list[str]
    gpus: int


def engine() -> Engine:
    """Imports MXNet. Raises InputError if it cannot be loaded."""
    features = mx.runtime.Features()
    gpus = mx.context.num_gpus() if features.is_enabled("CUDA") else 0
    return Engine(mx.__version__, mx.__file__, [name for name in _FEATURES if features.is_enabled(name)], gpus)


def adds_up() -> bool:
    """Whether a small convolution on the first device gives the right result."""
    context = mx.gpu(0) if engine().gpus else mx.cpu()
    ones = mx.nd.ones((1, 1, 4, 4), ctx=context)
    out = mx.nd.Convolution(ones, mx.nd.ones((1, 1, 3, 3), ctx=context), kernel=(3, 3), num_filter=1, no_bias=True)
    return bool((out.asnumpy() == 9).all())
