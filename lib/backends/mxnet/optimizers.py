"""Optimizers with MXNet's update operators."""

from __future__ import annotations

import math

from lib.backends import optimizers
from lib.backends.mxnet.loader import mx


class Optimizer(optimizers.Optimizer):
    def _norm(self, grads):
        return math.sqrt(float(mx.nd.multi_sum_sq(*grads, num_arrays=len(grads)).asnumpy().sum()))

    def _like(self, weight, value):
        if value is None:
            return mx.nd.zeros(weight.shape, weight.context, dtype=weight.dtype)
        return mx.nd.array(value, weight.context, dtype=value.dtype)

    def _numpy(self, value):
        return value.asnumpy()

    def _sgd(self, rules, weight, grad, momentum, lr, wd, scale):
        options = {"lr": lr, "wd": wd, "rescale_grad": scale, "momentum": rules.momentum}
        mx.nd.sgd_mom_update(weight, grad, momentum, out=weight, **options)

    def _adam(self, rules, weight, grad, mean, variance, lr, wd, scale):
        options = {"lr": lr, "wd": wd, "rescale_grad": scale, "beta1": rules.beta1, "beta2": rules.beta2}
        mx.nd.adam_update(weight, grad, mean, variance, out=weight, **options)
