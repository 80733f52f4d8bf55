"""MXNet's update rules on tensors, with the optimizer state under the same names, so that checkpoints are common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lib.backends.base import Adam, Arrays, Sgd
from lib.backends.torch.loader import Tensor, torch

_EPSILON = 1e-8  # MXNet's, in Adam


class Optimizer:
    """Weight decay on `_weight` and `_gamma` only, a learning-rate factor for each parameter, and a limit on the L2
    norm of all gradients together (0: none).
    """

    def __init__(self, rules: Any):
        self.rules = rules
        self._memory: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor], grads: Mapping[str, Tensor], lr: float) -> None:
        """Changes `weights` in place; grads under the same names."""
        scale = self._clip(grads)
        self._count()
        for name, weight in weights.items():
            gradient = grads[name] * scale
            if name.endswith(("_weight", "_gamma")):
                gradient.add_(weight, alpha=self.rules.wd)
            self._step(name, weight, gradient, lr * self.rules.lr_factor(name))

    def _clip(self, grads: Mapping[str, Tensor]) -> float:
        if not self.rules.clip_norm:
            return 1.0
        norm = math.sqrt(sum(float(torch.linalg.vector_norm(gradient)) ** 2 for gradient in grads.values()))
        return min(1.0, self.rules.clip_norm / norm) if norm else 1.0

    def _count(self) -> None:
        """Called once a step."""

    def _step(self, name: str, weight: Tensor, gradient: Tensor, lr: float) -> None:
        """`gradient` includes weight decay, and may be changed."""
        raise NotImplementedError

    def _slot(self, kind: str, name: str, weight: Tensor) -> Tensor:
        key = f"{kind}:{name}"
        if key not in self._memory:
            self._memory[key] = torch.zeros_like(weight, memory_format=torch.contiguous_format)
        elif self._memory[key].device != weight.device:
            self._memory[key] = self._memory[key].to(weight.device)
        return self._memory[key]

    def state(self) -> dict[str, np.ndarray]:
        return {key: value.cpu().numpy().copy() for key, value in self._memory.items()}

    def load_state(self, state: Arrays) -> None:
        self._memory = {key: torch.tensor(value) for key, value in state.items()}


class SgdSteps(Optimizer):
    """`lib.backends.base.Sgd`."""

    def _step(self, name: str, weight: Tensor, gradient: Tensor, lr: float) -> None:
        moment = self._slot("momentum", name, weight)
        moment.mul_(self.rules.momentum).sub_(gradient, alpha=lr)
        weight.add_(moment)


class AdamSteps(Optimizer):
    """`lib.backends.base.Adam`."""

    steps = 0

    def _count(self) -> None:
        self.steps += 1

    def _step(self, name: str, weight: Tensor, gradient: Tensor, lr: float) -> None:
        beta1, beta2 = self.rules.beta1, self.rules.beta2
        lr *= math.sqrt(1 - beta2**self.steps) / (1 - beta1**self.steps)
        mean, variance = self._slot("mean", name, weight), self._slot("variance", name, weight)
        mean.mul_(beta1).add_(gradient, alpha=1 - beta1)
        variance.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        weight.addcdiv_(mean, variance.sqrt().add_(_EPSILON), value=-lr)

    def state(self) -> dict[str, np.ndarray]:
        return {**super().state(), "steps": np.array([self.steps], np.int64)}

    def load_state(self, state: Arrays) -> None:
        super().load_state({key: value for key, value in state.items() if key != "steps"})
        self.steps = int(state["steps"][0])


def optimizer_of(rules: Sgd | Adam) -> Optimizer:
    """The optimizer that follows these rules."""
    return SgdSteps(rules) if isinstance(rules, Sgd) else AdamSteps(rules)
