"""Networks that learn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lib.backends.base import ALONE, Adam, Arrays, Build, Processes, Sgd
from lib.backends.torch.distributed import Torchrun
from lib.backends.torch.functions import TorchFunctions
from lib.backends.torch.loader import Tensor, torch
from lib.backends.torch.memory import for_training
from lib.backends.torch.optimizers import Optimizer
from lib.backends.torch.runtime import in_type, tensor_of


class TrainStep:
    """Training, a `lib.backends.base.Trainer`. All devices must be the same one: the batches run in turn on it, over
    the same parameters.

    Parameters that are not `trainable`, and the auxiliary states unless the network updates them, stay as they are. The
    first batch of the first process updates the states, as with MXNet, which keeps those of the first device.
    dtype: of the convolutions; the parameters, their gradients and the optimizer stay in float32.
    """

    def __init__(
        self,
        build: Build,
        devices: Sequence[torch.device],
        args: Arrays,
        auxs: Arrays,
        trainable: Iterable[str],
        optimizer: Sgd | Adam,
        *,
        dtype: torch.dtype = torch.float32,
        processes: Processes = ALONE,
    ):
        if len(set(devices)) > 1:
            raise ValueError(f"devices {devices} in one process")
        self._dtype, self._processes = dtype, processes
        self._build, self._device, self._count = build, devices[0], len(devices)
        self._args, self._auxs = (
            {name: torch.tensor(np.asarray(value), device=self._device) for name, value in part.items()}
            for part in (args, auxs)
        )
        self._trainable = [name for name in args if name in set(trainable)]
        for name in self._trainable:
            self._args[name].requires_grad_()
        self._optimizer = Optimizer(optimizer)
        self._averages: dict[str, Tensor] = {}

    @for_training
    def step(self, batches: Sequence[Arrays], lr: float) -> list[dict[str, np.ndarray]]:
        if len(batches) != self._count:
            raise ValueError(f"{len(batches)} batches for {self._count} devices")
        for name in self._trainable:
            self._args[name].grad = None
        first = 0 if self._processes.rank == 0 else None
        outputs = [self._backward(batch, statistics=number == first) for number, batch in enumerate(batches)]
        weights, gradients = {name: self._args[name] for name in self._trainable}, self._gradients()
        if isinstance(self._processes, Torchrun):
            self._processes.add_up(list(gradients.values()))
        self._optimizer.update(weights, gradients, lr)
        return outputs

    def _backward(self, batch: Arrays, statistics: bool) -> dict[str, np.ndarray]:
        """Outputs of a batch; its gradients are added to those of the parameters."""
        inputs = {name: tensor_of(value, self._device) for name, value in batch.items()}
        values = {**in_type(self._args, self._dtype), **self._auxs, **inputs}
        functions = TorchFunctions(values, self._device, training=True, statistics=statistics)
        outputs = self._build(functions)
        torch.stack(functions.losses).sum().backward()
        return {name: _copied(value.float()) for name, value in outputs.items()}

    def _gradients(self) -> dict[str, Tensor]:
        """Zeros for a parameter that the losses do not depend on."""
        for name in self._trainable:
            if self._args[name].grad is None:
                self._args[name].grad = torch.zeros_like(self._args[name])
        return {name: self._args[name].grad for name in self._trainable}

    def params(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        args, auxs = ({n: _copied(value) for n, value in part.items()} for part in (self._args, self._auxs))
        return args, auxs

    def gradients(self) -> dict[str, np.ndarray]:
        return {name: _copied(value) for name, value in self._gradients().items()}

    def state(self) -> dict[str, np.ndarray]:
        return self._optimizer.state()

    def load_state(self, state: Arrays) -> None:
        self._optimizer.load_state(state)

    @torch.no_grad()
    def average(self, decay: float) -> None:
        for name in self._trainable:
            if name in self._averages:
                self._averages[name].lerp_(self._args[name], 1 - decay)
            else:
                self._averages[name] = self._args[name].detach().clone()

    def averages(self) -> dict[str, np.ndarray]:
        return {name: _copied(value) for name, value in self._averages.items()}

    def load_averages(self, averages: Arrays) -> None:
        self._averages = {name: torch.tensor(value, device=self._device) for name, value in averages.items()}


def _copied(value: Tensor) -> np.ndarray:
    return value.detach().cpu().numpy().copy()
