"""Networks that run, and arrays on their devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lib.backends.base import Arrays, Build, Shape
from lib.backends.torch import cards
from lib.backends.torch.functions import TorchFunctions
from lib.backends.torch.loader import Tensor, torch


def devices(gpus: str) -> list[torch.device]:
    """Devices for the `gpus` setting: '0,1' -> two GPUs; '' -> the CPU.

    Raises InputError for one that is missing, or that PyTorch has no kernels for.
    """
    if not gpus:
        return [torch.device("cpu")]
    numbers = [int(number) for number in gpus.split(",")]
    cards.check(numbers)
    return [torch.device("cuda", number) for number in numbers]


class TorchArray:
    """A tensor as a `lib.backends.base.Buffer`."""

    def __init__(self, values: Tensor):
        self.values = values

    @property
    def shape(self) -> Shape:
        return tuple(self.values.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values.cpu().numpy(), dtype)

    @torch.inference_mode()
    def write(self, rows: Sequence[int], values: TorchArray | np.ndarray) -> None:
        source = tensor_of(values, self.values.device)
        if isinstance(rows, range) and rows.step == 1:
            self.values[rows.start : rows.stop].copy_(source)
        else:
            for place, row in enumerate(rows):
                self.values[row].copy_(source[place])


def tensor_of(value: Any, device: torch.device) -> Tensor:
    """A float32 tensor on the device, of the same memory where that is possible."""
    if isinstance(value, TorchArray):
        return value.values.to(device)
    return torch.from_numpy(np.require(np.asarray(value), np.float32, ["C", "W"])).to(device)


class Forward:
    """Inference, a `lib.backends.base.Network`: `Forward(build, device, args, auxs)(data=...)`.

    args, auxs: parameters by name, not to be changed afterwards. dtype: of the convolutions.
    """

    def __init__(
        self, build: Build, device: torch.device, args: Arrays, auxs: Arrays, dtype: torch.dtype = torch.float32
    ):
        self._build, self._device = build, device
        self._values = {name: tensor_of(value, device) for name, value in {**args, **auxs}.items()}
        for name, value in self._values.items():
            if name.endswith(("_weight", "_bias")):
                self._values[name] = value.to(dtype)
        self._buffers: dict[str, TorchArray] = {}

    def buffers(self, **shapes: Shape) -> dict[str, TorchArray]:
        made = {name: TorchArray(torch.zeros(shape, device=self._device)) for name, shape in shapes.items()}
        self._buffers.update(made)
        return made

    @torch.inference_mode()
    def __call__(self, **inputs: Any) -> dict[str, TorchArray]:
        values = dict(self._values)
        for name, value in inputs.items():
            if name in self._buffers:
                self._buffers[name].values.copy_(tensor_of(value, self._device))
            else:
                values[name] = tensor_of(value, self._device)
        values.update((name, buffer.values) for name, buffer in self._buffers.items())
        outputs = self._build(TorchFunctions(values, self._device))
        return {name: TorchArray(value.float()) for name, value in outputs.items()}
