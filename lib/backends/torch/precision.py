"""The number formats of a detector's convolutional networks: float32 and bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lib.backends.base import Arrays, Build, Device
from lib.backends.torch.folding import Folded
from lib.backends.torch.loader import torch
from lib.errors import InputError


@dataclass(frozen=True)
class Float32:
    """A `lib.backends.base.Precision`. graphs: whether a GPU runs networks as CUDA graphs."""

    graphs: bool = True

    def network(self, name: str, build: Build, device: Device, args: Arrays, auxs: Arrays) -> Folded:
        return Folded(build, device, args, auxs, graphs=self.graphs)


@dataclass(frozen=True)
class Bfloat16:
    """Convolutions, and what lies between them, in bfloat16, sums in float32."""

    graphs: bool = True

    def network(self, name: str, build: Build, device: Device, args: Arrays, auxs: Arrays) -> Folded:
        """Raises InputError where the device cannot."""
        _check_bfloat16("TEST.PRECISION", device)
        return Folded(build, device, args, auxs, torch.bfloat16, graphs=self.graphs)


def training_type(precision: str, devices: Sequence[torch.device]) -> torch.dtype:
    """The type that convolutions train in with a `TRAIN.PRECISION`. Raises InputError where a device cannot."""
    if precision == "float32":
        return torch.float32
    for device in devices:
        _check_bfloat16("TRAIN.PRECISION", device)
    return torch.bfloat16


def _check_bfloat16(key: str, device: torch.device) -> None:
    if not computes_bfloat16(device):
        raise InputError(
            f"{key}: bfloat16 needs a processor with AVX-512 or a GPU that computes in it, which {device} is not; "
            "use float32"
        )


def computes_bfloat16(device: torch.device) -> bool:
    """Whether convolutions on this device compute in bfloat16, and do not emulate it."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def precision_of(kind: str, *, graphs: bool = True) -> Float32 | Bfloat16:
    """What `TEST.PRECISION` says. Raises InputError for one that only MXNet has."""
    kinds: dict[str, type[Float32] | type[Bfloat16]] = {"float32": Float32, "bfloat16": Bfloat16}
    if kind not in kinds:
        raise InputError(f"TEST.PRECISION: {kind} needs backend: mxnet; the PyTorch backend has float32 and bfloat16")
    return kinds[kind](graphs=graphs)
