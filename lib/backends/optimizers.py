"""What the optimizers of all backends share. Their state consists of named arrays: checkpoints contain only data, and
one backend continues those of another.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lib.backends.base import Adam, Arrays, Sgd


class Optimizer(abc.ABC):
    """`Sgd` or `Adam` with weight decay, learning-rate factors and gradient clipping. A backend adds the computations
    on its arrays.
    """

    def __init__(self, rules: Sgd | Adam) -> None:
        self.rules = rules
        self._memory: dict[str, Any] = {}
        self._loaded: dict[str, np.ndarray] = {}  # until it is used
        self._steps = 0

    def update(self, weights: Mapping[str, Any], grads: Mapping[str, Any], lr: float) -> None:
        """Updates `weights` in place. grads: gradients under the same names."""
        norm = self._norm(list(grads.values())) if self.rules.clip_norm else 0.0
        scale = min(1.0, self.rules.clip_norm / norm) if norm else 1.0
        self._steps += 1
        for name, weight in weights.items():
            rate = lr * self.rules.lr_factor(name)
            wd = self.rules.wd if name.endswith(("_weight", "_gamma")) else 0.0
            if isinstance(self.rules, Sgd):
                self._sgd(self.rules, weight, grads[name], self._slot("momentum", name, weight), rate, wd, scale)
            else:
                rate *= math.sqrt(1 - self.rules.beta2**self._steps) / (1 - self.rules.beta1**self._steps)
                mean, variance = self._slot("mean", name, weight), self._slot("variance", name, weight)
                self._adam(self.rules, weight, grads[name], mean, variance, rate, wd, scale)

    def _slot(self, kind: str, name: str, weight: Any) -> Any:
        key = f"{kind}:{name}"
        if key not in self._memory:
            self._memory[key] = self._like(weight, self._loaded.pop(key, None))
        return self._memory[key]

    def state(self) -> dict[str, np.ndarray]:
        steps = {"steps": np.array([self._steps], np.int64)} if isinstance(self.rules, Adam) else {}
        return {**self._loaded, **{key: self._numpy(value) for key, value in self._memory.items()}, **steps}

    def load_state(self, state: Arrays) -> None:
        self._memory, self._loaded = {}, dict(state)
        if isinstance(self.rules, Adam):
            self._steps = int(self._loaded.pop("steps")[0])

    @abc.abstractmethod
    def _norm(self, grads: list) -> float:
        """L2 norm of all gradients together."""

    @abc.abstractmethod
    def _like(self, weight: Any, value: np.ndarray | None) -> Any:
        """A new array of the same shape on the same device: the value, or zeros."""

    @abc.abstractmethod
    def _numpy(self, value: Any) -> np.ndarray:
        """A copy on the host."""

    @abc.abstractmethod
    def _sgd(self, rules: Sgd, weight: Any, grad: Any, momentum: Any, lr: float, wd: float, scale: float) -> None:
        """Updates `weight` and `momentum`. scale: factor of the gradient, before weight decay."""

    @abc.abstractmethod
    def _adam(
        self, rules: Adam, weight: Any, grad: Any, mean: Any, variance: Any, lr: float, wd: float, scale: float
    ) -> None:
        """Updates `weight`, `mean` and `variance`. lr: with the correction of the bias."""
