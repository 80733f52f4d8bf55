"""The number formats of a detector's convolutional networks: float32 and bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lib.backends.base import Arrays, Build, Device
from lib.backends.torch.folding import Folded
from lib.backends.torch.loader import torch
from lib.errors import InputError

_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Convolutions:
    """A `lib.backends.base.Precision`: convolutions, and what lies between them, in this type, sums in float32.

    graphs: whether a GPU runs networks as CUDA graphs.
    """

    dtype: torch.dtype
    graphs: bool

    def network(self, name: str, build: Build, device: Device, args: Arrays, auxs: Arrays) -> Folded:
        """Raises InputError where the device cannot."""
        _check("TEST.PRECISION", self.dtype, device)
        return Folded(build, device, args, auxs, self.dtype, graphs=self.graphs)


def training_type(precision: str, devices: Sequence[torch.device]) -> torch.dtype:
    """The type that convolutions train in with a `TRAIN.PRECISION`. Raises InputError where a device cannot."""
    dtype = _TYPES[precision]
    for device in devices:
        _check("TRAIN.PRECISION", dtype, device)
    return dtype


def _check(key: str, dtype: torch.dtype, device: torch.device) -> None:
    if dtype == torch.bfloat16 and not computes_bfloat16(device):
        raise InputError(
            f"{key}: bfloat16 is not supported on {device}: it needs AVX-512 or a bfloat16-capable GPU; use float32"
        )


def computes_bfloat16(device: torch.device) -> bool:
    """Whether convolutions on this device compute in bfloat16, and do not emulate it."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def precision_of(kind: str, *, graphs: bool = True) -> Convolutions:
    """What `TEST.PRECISION` says. Raises InputError for one that only MXNet has."""
    if kind not in _TYPES:
        raise InputError(f"TEST.PRECISION: {kind} needs backend: mxnet; the PyTorch backend has float32 and bfloat16")
    return Convolutions(_TYPES[kind], graphs)
