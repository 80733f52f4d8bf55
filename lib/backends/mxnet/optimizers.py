"""Optimizers whose state consists of named arrays, so that checkpoints contain only data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lib.backends.base import Adam, Sgd
from lib.backends.mxnet.loader import mx


class Optimizer:
    """Weight decay, learning-rate factors and gradient clipping, according to the rules (see `Sgd`)."""

    def __init__(self, rules: Any):
        self.rules = rules
        self._memory: dict[str, Any] = {}

    def update(self, weights: Mapping, grads: Mapping, lr: float) -> None:
        """Updates `weights` in place. grads: gradients under the same names."""
        scale = self._clip(list(grads.values()))
        self._count()
        for name, weight in weights.items():
            wd = self.rules.wd if name.endswith(("_weight", "_gamma")) else 0.0
            self._step(name, weight, grads[name], lr=lr * self.rules.lr_factor(name), wd=wd, rescale_grad=scale)

    def _clip(self, grads: list) -> float:
        if not self.rules.clip_norm:
            return 1.0
        squares = mx.nd.multi_sum_sq(*grads, num_arrays=len(grads)).asnumpy()
        norm = math.sqrt(float(squares.sum()))
        return min(1.0, self.rules.clip_norm / norm) if norm else 1.0

    def _count(self) -> None:
        """Called once per step."""

    def _step(self, name: str, weight, grad, *, lr: float, **options) -> None:
        raise NotImplementedError

    def _slot(self, kind: str, name: str, weight):
        key = f"{kind}:{name}"
        if key not in self._memory:
            self._memory[key] = mx.nd.zeros(weight.shape, weight.context, dtype=weight.dtype)
        elif self._memory[key].context != weight.context:
            self._memory[key] = self._memory[key].as_in_context(weight.context)
        return self._memory[key]

    def state(self) -> dict[str, np.ndarray]:
        return {key: value.asnumpy() for key, value in self._memory.items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self._memory = {key: mx.nd.array(value, dtype=value.dtype) for key, value in state.items()}


class SgdSteps(Optimizer):
    """`lib.backends.base.Sgd`."""

    def _step(self, name: str, weight, grad, **options) -> None:
        slot = self._slot("momentum", name, weight)
        mx.nd.sgd_mom_update(weight, grad, slot, out=weight, momentum=self.rules.momentum, **options)


class AdamSteps(Optimizer):
    """`lib.backends.base.Adam`."""

    steps = 0

    def _count(self) -> None:
        self.steps += 1

    def _step(self, name: str, weight, grad, *, lr: float, **options) -> None:
        beta1, beta2 = self.rules.beta1, self.rules.beta2
        lr *= math.sqrt(1 - beta2**self.steps) / (1 - beta1**self.steps)
        mean, variance = self._slot("mean", name, weight), self._slot("variance", name, weight)
        mx.nd.adam_update(weight, grad, mean, variance, out=weight, lr=lr, beta1=beta1, beta2=beta2, **options)

    def state(self) -> dict[str, np.ndarray]:
        return {**super().state(), "steps": np.array([self.steps], np.int64)}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        super().load_state({key: value for key, value in state.items() if key != "steps"})
        self.steps = int(state["steps"][0])


def optimizer_of(rules: Sgd | Adam) -> Optimizer:
    """The optimizer that follows these rules."""
    return SgdSteps(rules) if isinstance(rules, Sgd) else AdamSteps(rules)
