"""The number formats of a detector's convolutional networks: float32 and bfloat16."""

from __future__ import annotations

from collections.abc import Callable

from lib.backends.base import Arrays, Build, Device
from lib.backends.torch.loader import torch
from lib.backends.torch.runtime import Forward
from lib.errors import InputError


class Float32:
    """A `lib.backends.base.Precision`."""

    def network(self, name: str, build: Build, device: Device, args: Arrays, auxs: Arrays) -> Forward:
        return Forward(build, device, args, auxs)


class Bfloat16:
    """Convolutions, and what lies between them, in bfloat16, sums in float32."""

    def network(self, name: str, build: Build, device: Device, args: Arrays, auxs: Arrays) -> Forward:
        """Raises InputError where the device cannot."""
        if not computes_bfloat16(device):
            raise InputError(
                f"TEST.PRECISION: bfloat16 needs a processor with AVX-512 or a GPU that computes in it, which {device} "
                "is not; use float32"
            )
        return Forward(build, device, args, auxs, torch.bfloat16)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether convolutions on this device compute in bfloat16, and do not emulate it."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def precision_of(kind: str) -> Float32 | Bfloat16:
    """What `TEST.PRECISION` says. Raises InputError for one that only MXNet has."""
    kinds: dict[str, Callable[[], Float32 | Bfloat16]] = {"float32": Float32, "bfloat16": Bfloat16}
    if kind not in kinds:
        raise InputError(f"TEST.PRECISION: {kind} needs backend: mxnet; the PyTorch backend has float32 and bfloat16")
    return kinds[kind]()
