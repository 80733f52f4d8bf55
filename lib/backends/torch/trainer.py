"""Networks that learn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lib.backends.base import Adam, Arrays, Build, Sgd
from lib.backends.torch.functions import TorchFunctions
from lib.backends.torch.loader import Tensor, torch
from lib.backends.torch.memory import for_training
from lib.backends.torch.optimizers import optimizer_of
from lib.backends.torch.runtime import tensor_of
from lib.errors import InputError


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

    @for_training
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
