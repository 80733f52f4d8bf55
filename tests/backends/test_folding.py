"""Fused layers compute what separate ones compute."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import needs

needs("torch")

from lib.backends.torch.folding import Folded  # noqa: E402
from lib.backends.torch.loader import torch  # noqa: E402
from lib.backends.torch.runtime import Forward  # noqa: E402
from lib.backends.torch.shapes import shapes_of  # noqa: E402

CPU = torch.device("cpu")
SHAPE = (2, 16, 7, 9)


def conv(F, x, name, **sizes):
    return F.Convolution(x, name=name, num_filter=16, kernel=(3, 3), pad=(1, 1), no_bias=True, **sizes)


def norm(F, x, name, fix_gamma=False):
    return F.BatchNorm(x, name=name, use_global_stats=True, fix_gamma=fix_gamma, eps=1e-3, momentum=0.9)


def relu(F, x):
    return F.Activation(x, act_type="relu")


def chain(F):
    x = F.Convolution(F.Variable("data"), name="a", num_filter=16, kernel=(3, 3), stride=(2, 2), pad=(1, 1))
    x = F.LeakyReLU(x, act_type="leaky", slope=0.1)
    return {"out": relu(F, norm(F, conv(F, x, "b", dilate=(1, 1)), "bn_b", fix_gamma=True))}


def residual(F):
    x = F.Variable("data")
    return {"out": relu(F, norm(F, conv(F, x, "a"), "bn_a") + norm(F, conv(F, x, "b"), "bn_b"))}


def map_read_twice(F):
    x = conv(F, F.Variable("data"), "a")
    return {"out": relu(F, norm(F, x, "bn_a")) + x}


def norm_read_twice(F):
    x = norm(F, conv(F, F.Variable("data"), "a"), "bn_a")
    return {"out": relu(F, x), "raw": F.identity(x, name="raw")}


def sum_read_twice(F):
    x = F.Variable("data")
    total = x + conv(F, x, "a")
    return {"out": relu(F, total), "total": total}


def sum_of_two_shapes(F):
    x = F.Variable("data")
    return {"out": relu(F, F.mean(x) + conv(F, x, "a"))}


def shared_weights(F):
    x = F.Variable("data")
    return {"out": relu(F, conv(F, relu(F, conv(F, x, "a")), "a"))}


def parameters(build):
    rng = np.random.default_rng(0)
    drawn = []
    for part in shapes_of(build, data=SHAPE):
        drawn.append({name: rng.uniform(0.1, 1, shape).astype(np.float32) for name, shape in part.items()})
        drawn[-1].update(
            (n, (v - 0.5) * 0.2) for n, v in drawn[-1].items() if n.endswith(("_weight", "_bias", "_mean"))
        )
    return drawn


CASES = [
    (chain, 1, 2),
    (residual, 2, 1),
    (map_read_twice, 0, 0),
    (norm_read_twice, 1, 0),
    (sum_read_twice, 0, 0),
    (sum_of_two_shapes, 0, 0),
    (shared_weights, 0, 0),
]


@pytest.mark.parametrize("build, norms, activations", CASES, ids=lambda case: getattr(case, "__name__", None))
def test_fused_layers_compute_the_same(build, norms, activations):
    args, auxs = parameters(build)
    folded, plain = Folded(build, CPU, args, auxs), Forward(build, CPU, args, auxs)
    data = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    for batch in (data, data[:1]):
        expected = {name: np.asarray(value) for name, value in plain(data=batch).items()}
        for name, value in folded(data=batch).items():
            np.testing.assert_allclose(np.asarray(value), expected[name], rtol=1e-4, atol=1e-4)
    assert (len(folded.norms), len(folded.activations)) == (norms, activations)


@pytest.mark.parametrize("build", [chain, residual])
def test_bfloat16_layers_are_near(build):
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor lacks AVX-512")
    args, auxs = parameters(build)
    data = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    (expected,) = Forward(build, CPU, args, auxs)(data=data).values()
    (found,) = Folded(build, CPU, args, auxs, torch.bfloat16)(data=data).values()
    difference = np.abs(np.asarray(found) - np.asarray(expected)).mean() / np.abs(np.asarray(expected)).mean()
    assert difference < 0.02
