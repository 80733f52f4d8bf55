"""MXNet's update rules on tensors."""

from __future__ import annotations

import math

from lib.backends import optimizers
from lib.backends.torch.loader import Tensor, torch

_EPSILON = 1e-8  # MXNet's, in Adam


class Optimizer(optimizers.Optimizer):
    def _norm(self, grads):
        return math.sqrt(sum(float(torch.linalg.vector_norm(gradient)) ** 2 for gradient in grads))

    def _like(self, weight, value):
        if value is None:
            return torch.zeros_like(weight, memory_format=torch.contiguous_format)
        return torch.tensor(value, device=weight.device)

    def _numpy(self, value):
        return value.cpu().numpy().copy()

    @torch.no_grad()
    def _sgd(self, rules, weight, grad, momentum, lr, wd, scale):
        momentum.mul_(rules.momentum).sub_(_decayed(grad, weight, wd, scale), alpha=lr)
        weight.add_(momentum)

    @torch.no_grad()
    def _adam(self, rules, weight, grad, mean, variance, lr, wd, scale):
        gradient = _decayed(grad, weight, wd, scale)
        mean.mul_(rules.beta1).add_(gradient, alpha=1 - rules.beta1)
        variance.mul_(rules.beta2).addcmul_(gradient, gradient, value=1 - rules.beta2)
        weight.addcdiv_(mean, variance.sqrt().add_(_EPSILON), value=-lr)


def _decayed(gradient: Tensor, weight: Tensor, wd: float, scale: float) -> Tensor:
    gradient = gradient * scale
    return gradient.add_(weight, alpha=wd) if wd else gradient
