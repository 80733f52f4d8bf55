"""Each optimizer of each backend against its formula in numpy, and its memory as named arrays."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from lib.backends.base import Adam, Sgd
from tests.conftest import needs

WD = 0.01
STEPS = 5
SHAPES = {"a_weight": (3, 4), "b_bias": (4,), "c_gamma": (2,), "d_beta": (2,)}


def decay(name):
    return WD if name.endswith(("_weight", "_gamma")) else 0.0


def sgd(weight, gradients, wd, lr, momentum):
    moment = np.zeros_like(weight)
    for gradient in gradients:
        moment = momentum * moment - lr * (gradient + wd * weight)
        weight = weight + moment
    return weight


def adam(weight, gradients, wd, lr, beta1=0.9, beta2=0.999, epsilon=1e-8):
    mean, variance = np.zeros_like(weight), np.zeros_like(weight)
    for step, gradient in enumerate(gradients, 1):
        gradient = gradient + wd * weight
        mean = beta1 * mean + (1 - beta1) * gradient
        variance = beta2 * variance + (1 - beta2) * gradient**2
        corrected = lr * np.sqrt(1 - beta2**step) / (1 - beta1**step)
        weight = weight - corrected * mean / (np.sqrt(variance) + epsilon)
    return weight


@pytest.fixture
def problem():
    """(weights, [gradients of a step]) by name, float64."""
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    return weights, [{name: rng.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(STEPS)]


class Engine:
    """A backend's optimizers on its own arrays."""

    def __init__(self, name):
        module = importlib.import_module(f"lib.backends.{name}.loader")
        self.optimizer = importlib.import_module(f"lib.backends.{name}.optimizers").Optimizer
        self._array = module.mx.nd.array if name == "mxnet" else lambda value: module.torch.tensor(np.float32(value))
        self._numpy = lambda array: array.asnumpy() if name == "mxnet" else array.numpy()

    def run(self, rules, weights, gradients, lr=0.1):
        return self.stepped(self.optimizer(rules), weights, gradients, lr)

    def stepped(self, optimizer, weights, gradients, lr=0.1):
        weights = self._arrays(weights)
        for each in gradients:
            optimizer.update(weights, self._arrays(each), lr)
        return {name: self._numpy(value) for name, value in weights.items()}

    def _arrays(self, values):
        return {name: self._array(value) for name, value in values.items()}


@pytest.fixture(params=["mxnet", "torch"])
def engine(request):
    needs(request.param)
    return Engine(request.param)


def same(found, expected):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("make, formula", [
    (lambda **o: Sgd(momentum=0.9, **o), lambda *a: sgd(*a, momentum=0.9)),
    (lambda **o: Sgd(momentum=0.0, **o), lambda *a: sgd(*a, momentum=0.0)),
    (Adam, adam),
], ids=["momentum", "plain", "adam"])  # fmt: skip
def test_formula_with_decay_of_weights_and_gammas_alone(engine, problem, make, formula):
    weights, gradients = problem
    found = engine.run(make(wd=WD), weights, gradients)
    same(found, {n: formula(w, [g[n] for g in gradients], decay(n), 0.1) for n, w in weights.items()})


def test_the_rate_of_a_parameter_has_its_own_factor(engine, problem):
    weights, gradients = problem
    factors = {"a_weight": 0.5, "b_bias": 0.0}
    found = engine.run(Sgd(0.9, wd=WD, lr_factor=lambda name: factors.get(name, 1.0)), weights, gradients)
    same(found, {
        name: sgd(weight, [g[name] for g in gradients], decay(name), 0.1 * factors.get(name, 1.0), 0.9)
        for name, weight in weights.items()
    })  # fmt: skip
    np.testing.assert_array_equal(found["b_bias"], weights["b_bias"].astype(np.float32))


@pytest.mark.parametrize("limit, clipped", [(0.5, True), (1e6, False)])
def test_the_norm_of_all_gradients_together_is_limited(engine, problem, limit, clipped):
    weights, gradients = problem
    norm = np.sqrt(sum((value**2).sum() for value in gradients[0].values()))
    factor = limit / norm if clipped else 1.0
    assert (norm > limit) == clipped
    found = engine.run(Sgd(0.0, wd=WD, clip_norm=limit), weights, gradients[:1])
    same(found, {n: sgd(w, [factor * gradients[0][n]], decay(n), 0.1, 0.0) for n, w in weights.items()})


def test_no_gradient_at_all_is_not_divided_by(engine, problem):
    weights, _ = problem
    still = engine.run(Sgd(0.9, clip_norm=1.0), weights, [{name: np.zeros(shape) for name, shape in SHAPES.items()}])
    same(still, weights)


@pytest.mark.parametrize("make", [lambda: Sgd(0.9, wd=WD), lambda: Adam(wd=WD)], ids=["sgd", "adam"])
def test_going_on_from_the_state_is_exact(engine, problem, make):
    weights, gradients = problem
    whole = engine.run(make(), weights, gradients)
    first, second = engine.optimizer(make()), engine.optimizer(make())
    half = engine.stepped(first, weights, gradients[:2])
    state = first.state()
    assert all(isinstance(value, np.ndarray) for value in state.values())
    second.load_state(state)
    found = engine.stepped(second, half, gradients[2:])
    for name in SHAPES:
        np.testing.assert_array_equal(found[name], whole[name])


def test_the_state_is_a_copy(engine, problem):
    weights, gradients = problem
    optimizer = engine.optimizer(Sgd(0.9))
    engine.stepped(optimizer, weights, gradients[:1])
    before = {name: value.copy() for name, value in optimizer.state().items()}
    state = optimizer.state()
    engine.stepped(optimizer, weights, gradients[1:2])
    for name, value in before.items():
        np.testing.assert_array_equal(state[name], value)
    assert set(state) == {f"momentum:{name}" for name in SHAPES}
    assert engine.optimizer(Sgd()).state() == {} and engine.optimizer(Adam()).state()["steps"].tolist() == [0]


@pytest.mark.parametrize("rules", [Sgd(0.9, wd=WD), Adam(wd=WD)], ids=["sgd", "adam"])
def test_names_and_types_of_the_state_are_common(engine, problem, rules):
    """A checkpoint of one backend continues in the other."""
    weights, gradients = problem
    optimizer = engine.optimizer(rules)
    engine.stepped(optimizer, weights, gradients[:1])
    kinds = ("momentum",) if isinstance(rules, Sgd) else ("mean", "variance")
    state = optimizer.state()
    assert set(state) - {"steps"} == {f"{kind}:{name}" for kind in kinds for name in SHAPES}
    assert ("steps" in state) == isinstance(rules, Adam)
    for key, value in state.items():
        assert value.dtype == (np.int64 if key == "steps" else np.float32)
