"""Compositions of MXNet's own operators agree with the compiled ones."""

from __future__ import annotations

import numpy as np
import pytest

from lib.backends.mxnet.loader import mx
from lib.nets.aggregation import aggregate, cosine, to_ring
from tests.networks import BUILTIN, COMPILED, run, symbol, variables

BOTH = (COMPILED, BUILTIN)


def outputs_of(symbol, **inputs):
    return list(run(symbol, **inputs).values())


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def normal(rng, *shape, scale=1.0):
    return rng.normal(0, scale, shape).astype(np.float32)


def test_warp_and_its_gradients(rng):
    inputs = {"x": normal(rng, 2, 3, 5, 7), "flow": normal(rng, 2, 2, 5, 7, scale=3)}
    above = mx.nd.array(normal(rng, 2, 3, 5, 7))
    found = []
    for F in BOTH:
        executor = F.warp(*variables("x", "flow")).simple_bind(mx.cpu(), **{n: v.shape for n, v in inputs.items()})
        for name, value in inputs.items():
            executor.arg_dict[name][:] = value
        (out,) = executor.forward(is_train=True)
        executor.backward(above)
        found.append([out.asnumpy(), *(executor.grad_dict[name].asnumpy() for name in inputs)])
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("with_weights", [False, True])
def test_aggregate(rng, with_weights):
    """From a ring of 6 slots, some of them twice; channels last for the compiled operator."""
    ring = normal(rng, 6, 8 + 5, 4, 7)
    inputs = {"flow": normal(rng, 5, 2, 4, 7, scale=2), "order": np.float32([3, 3, 0, 5, 1])}
    options = {"feature_channels": 8, "current": 2, "name": "a", "with_weights": with_weights}
    found = []
    for F, layout in ((COMPILED, ring.transpose(0, 2, 3, 1)), (BUILTIN, ring)):
        aggregated = aggregate(F, *variables("ring", "flow", "order"), **options)
        group = mx.sym.Group([aggregated[index] for index in range(1 + with_weights)])
        found.append(outputs_of(group, ring=layout, **inputs))
    assert [value.shape for value in found[0]] == [(1, 8, 4, 7), (5, 1, 4, 7)][: 1 + with_weights]
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("F", BOTH)
def test_the_ring(rng, F):
    features = normal(rng, 4, 6, 3, 5)
    (ring,) = outputs_of(mx.sym.identity(to_ring(F, mx.sym.Variable("x"))), x=features)
    np.testing.assert_array_equal(ring, features if F is BUILTIN else features.transpose(0, 2, 3, 1))


def test_cosine_by_hand():
    embeddings = np.float32([[3, 4], [4, -3], [-3, -4], [0, 0]]).reshape(4, 2, 1, 1)
    similarity = symbol(cosine, *variables("e", "r"))
    (found,) = outputs_of(similarity, e=embeddings, r=2 * embeddings[:1])
    np.testing.assert_allclose(found.ravel(), [1, 0, -1, 0], atol=1e-6)
    (found,) = outputs_of(similarity, e=embeddings, r=embeddings[3:])
    np.testing.assert_array_equal(found.ravel(), 0)


def test_proposals_of_a_batch(rng):
    inputs = {
        "prob": rng.random((2, 12, 6, 9)).astype(np.float32),
        "deltas": normal(rng, 2, 24, 6, 9, scale=0.3),
        "info": np.float32([[48, 70, 1], [44, 72, 2]]),
    }
    options = {
        "feature_stride": 8,
        "scales": (2.5, 4, 6),
        "ratios": (0.5, 2),
        "pre_nms_top_n": 150,
        "post_nms_top_n": 40,
        "nms_threshold": 0.7,
        "min_size": 0,
    }
    one, other = (outputs_of(F.multi_proposal(*variables(*inputs), **options, name="rois"), **inputs)[0] for F in BOTH)
    assert one.shape == (80, 5)
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_position_sensitive_pooling(rng):
    corners = rng.uniform(0, 40, (12, 2))
    rois = np.concatenate((rng.integers(0, 2, (12, 1)), corners, corners + rng.uniform(1, 40, (12, 2))), axis=1)
    inputs = {"x": normal(rng, 2, 9 * 4, 9, 11), "rois": rois.astype(np.float32)}
    options = {"output_dim": 4, "group_size": 3, "spatial_scale": 1 / 8}
    one, other = (outputs_of(F.psroi_mean(*variables(*inputs), **options), **inputs)[0] for F in BOTH)
    assert one.shape == (12, 4)
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert BUILTIN.psroi_mean(*variables(*inputs), **options, name="p").list_outputs() == ["p_output"]
