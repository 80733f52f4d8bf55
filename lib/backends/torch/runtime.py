"""Networks that run and learn: the PyTorch side of `lib.backends.base`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lib.backends.base import Adam, Arrays, Build, Sgd, Shape
from lib.backends.torch.functions import TorchFunctions
from lib.backends.torch.loader import Tensor, torch
from lib.backends.torch.optimizers import optimizer_of
from lib.errors import InputError


def devices(gpus: str) -> list[torch.device]:
    """Devices for the `gpus` setting: '0,1' -> two GPUs; '' -> the CPU. Raises InputError for a missing one."""
    if not gpus:
        return [torch.device("cpu")]
    numbers = [int(number) for number in gpus.split(",")]
    present = torch.cuda.device_count()
    for number in numbers:
        if number >= present:
            raise InputError(
                f"gpus: there is no GPU {number}, PyTorch sees {present}; use gpus: '' (--set gpus=) for the CPU"
            )
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


class TrainStep:
    """Training, a `lib.backends.base.Trainer`. All devices must be the same one: the batches run in turn on it, over
    the same parameters. Raises InputError for different ones.

    Parameters that are not `trainable`, and the auxiliary states unless the network updates them, stay as they are. The
    first batch updates them, as with MXNet, which keeps the states of the first device.
    """

    def __init__(
        self,
        build: Build,
        devices: Sequence[torch.device],
        args: Arrays,
        auxs: Arrays,
        trainable: Iterable[str],
        optimizer: Sgd | Adam,
    ):
        if len(set(devices)) > 1:
            raise InputError("gpus: training with the PyTorch backend uses one GPU; name one, such as gpus: '0'")
        self._build, self._device, self._count = build, devices[0], len(devices)
        self._args, self._auxs = (
            {name: torch.tensor(np.asarray(value), device=self._device) for name, value in part.items()}
            for part in (args, auxs)
        )
        self._trainable = [name for name in args if name in set(trainable)]
        for name in self._trainable:
            self._args[name].requires_grad_()
        self._optimizer = optimizer_of(optimizer)

    def step(self, batches: Sequence[Arrays], lr: float) -> list[dict[str, np.ndarray]]:
        if len(batches) != self._count:
            raise ValueError(f"{len(batches)} batches for {self._count} devices")
        for name in self._trainable:
            self._args[name].grad = None
        outputs = [self._backward(batch, first=number == 0) for number, batch in enumerate(batches)]
        weights = {name: self._args[name] for name in self._trainable}
        self._optimizer.update(weights, self._gradients(), lr)
        return outputs

    def _backward(self, batch: Arrays, first: bool) -> dict[str, np.ndarray]:
        """Outputs of a batch; its gradients are added to those of the parameters."""
        inputs = {name: tensor_of(value, self._device) for name, value in batch.items()}
        functions = TorchFunctions(
            {**self._args, **self._auxs, **inputs}, self._device, training=True, statistics=first
        )
        outputs = self._build(functions)
        torch.stack(functions.losses).sum().backward()
        return {name: _copied(value) for name, value in outputs.items()}

    def _gradients(self) -> dict[str, Tensor]:
        """Zeros for a parameter that the losses do not depend on."""
        found = {name: self._args[name].grad for name in self._trainable}
        return {name: torch.zeros_like(self._args[name]) if g is None else g for name, g in found.items()}

    def params(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        args, auxs = ({n: _copied(value) for n, value in part.items()} for part in (self._args, self._auxs))
        return args, auxs

    def gradients(self) -> dict[str, np.ndarray]:
        return {name: _copied(value) for name, value in self._gradients().items()}

    def state(self) -> dict[str, np.ndarray]:
        return self._optimizer.state()

    def load_state(self, state: Arrays) -> None:
        self._optimizer.load_state(state)


def _copied(value: Tensor) -> np.ndarray:
    return value.detach().cpu().numpy().copy()
