"""The aggregation operator against numpy and against the composition of MXNet's operators."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import operators_reference as reference
from lib.backends.mxnet.loader import mx
from lib.nets.aggregation import to_ring
from tests.networks import COMPILED, EAGER, variables
from tests.ops.common import Kernels, golden


def run(ring, flow, order, channels, current):
    arrays = (mx.nd.array(a) for a in (ring, flow, order))
    out, weights = EAGER.aggregate(*arrays, feature_channels=channels, current=current, with_weights=True)
    return out.asnumpy(), weights.asnumpy()


def random_case(slots, frames, height, width, channels, embedding, spread=2.0, seed=0):
    rng = np.random.RandomState(seed)
    ring = rng.standard_normal((slots, height, width, channels + embedding)).astype(np.float32)
    flow = (rng.standard_normal((frames, 2, height, width)) * spread).astype(np.float32)
    return ring, flow, rng.randint(0, slots, frames).astype(np.float32)


def test_golden_weights_from_the_golden_cosines():
    """Embeddings of two channels at the golden cosines' angles: the operator's softmax must give the golden weights."""
    cosine, weights = golden("cosine"), golden("weights")
    frames, _, height, width = cosine.shape
    inside = cosine[2, 0] > 0.5  # elsewhere the current frame itself is sampled outside, and every cosine is 0
    np.testing.assert_allclose(cosine[2, 0][inside], 1, atol=1e-5)
    assert not cosine[:, 0, ~inside].any()
    angle = np.arccos(np.clip(cosine[:, 0], -1, 1)).astype(np.float64)
    angle[2] = 0
    ring = np.stack([np.ones_like(angle), np.cos(angle) * inside, np.sin(angle) * inside], axis=-1)
    flow, order = np.zeros((frames, 2, height, width)), np.arange(frames)
    out, ours = run(ring, flow, order, 1, 2)
    np.testing.assert_allclose(ours, weights, atol=1e-4 * weights.max())
    np.testing.assert_allclose(out, 1, atol=1e-6)


def test_two_frames_by_hand():
    """At one cell: embeddings (3, 4) and (4, -3) are perpendicular, so the weights are e and 1 over their sum."""
    ring = np.array([[10, 3, 4], [20, 4, -3]], np.float32).reshape(2, 1, 1, 3)
    out, weights = run(ring, np.zeros((2, 2, 1, 1)), [0, 1], 1, 0)
    e = np.e
    np.testing.assert_allclose(weights.ravel(), [e / (e + 1), 1 / (e + 1)], rtol=1e-6)
    np.testing.assert_allclose(out.ravel(), [(10 * e + 20) / (e + 1)], rtol=1e-6)


def test_the_current_frame_is_warped_by_its_own_flow():
    """The current frame's flow moves its reference by a cell, onto an embedding that equals the other frame's."""
    ring = np.zeros((2, 1, 2, 3), np.float32)
    ring[0, 0, :, 1:] = (1, 0), (0, 1)
    ring[1, 0, :, 1:] = (0, 1)
    flow = np.zeros((2, 2, 1, 2), np.float32)
    assert run(ring, flow, [0, 1], 1, 0)[1][1, 0, 0, 0] < 0.3
    flow[0, 0] = 1
    assert run(ring, flow, [0, 1], 1, 0)[1][1, 0, 0, 0] == pytest.approx(0.5)


def test_a_frame_sampled_outside_still_takes_its_weight():
    ring = np.ones((2, 1, 1, 3), np.float32)
    flow = np.zeros((2, 2, 1, 1), np.float32)
    for far in (5.0, -1.0, np.nan, np.inf):
        flow[1, 0] = far
        out, weights = run(ring, flow, [0, 1], 1, 0)
        assert weights[1, 0, 0, 0] == pytest.approx(1 / (1 + np.e))
        assert out[0, 0, 0, 0] == pytest.approx(np.e / (1 + np.e))


def test_embeddings_of_zero_share_alike():
    ring = np.zeros((3, 2, 2, 5), np.float32)
    ring[:, :, :, 0] = np.array([3, 6, 9]).reshape(3, 1, 1)
    out, weights = run(ring, np.zeros((3, 2, 2, 2)), [0, 1, 2], 1, 1)
    np.testing.assert_allclose(weights, 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(out, 6, rtol=1e-6)


@pytest.mark.parametrize(
    "sizes",
    [
        (1, 1, 1, 1, 1, 1),
        (3, 5, 5, 7, 4, 6),
        (5, 3, 9, 13, 33, 17),
        (4, 4, 1, 23, 16, 64),
        (2, 3, 17, 1, 3, 130),
        (2, 2, 2, 8, 8, 8),
    ],
)
def test_equals_numpy(sizes):
    ring, flow, order = random_case(*sizes)
    for current in {0, sizes[1] - 1}:
        out, weights = run(ring, flow, order, sizes[4], current)
        expected, expected_weights = reference.aggregate(ring, flow, order, sizes[4], current)
        np.testing.assert_allclose(weights, expected_weights, atol=2e-6)
        np.testing.assert_allclose(out, expected, atol=2e-5)


def test_a_rotated_ring_gives_the_same_bits():
    ring, flow, order = random_case(5, 5, 4, 6, 8, 8)
    order = np.arange(5)
    rotated = np.roll(ring, 2, axis=0)
    for one, other in zip(run(ring, flow, order, 8, 2), run(rotated, flow, (order + 2) % 5, 8, 2)):
        assert np.array_equal(one, other)


def test_frames_repeated_at_the_end_of_a_clip_count_each_time():
    ring, flow, _ = random_case(2, 4, 3, 5, 4, 4)
    flow[2:] = flow[1]
    out, weights = run(ring, flow, [0, 1, 1, 1], 4, 1)
    copied, copied_weights = run(ring[[0, 1, 1, 1]], flow, [0, 1, 2, 3], 4, 1)
    assert np.array_equal(out, copied)
    assert np.array_equal(weights, copied_weights)


def test_equals_the_composition_of_mxnets_operators():
    ring, flow, order = random_case(5, 5, 6, 9, 20, 40)
    stack = mx.nd.array(ring[order.astype(int)].transpose(0, 3, 1, 2))
    warped = mx.nd.BilinearSampler(stack, mx.nd.GridGenerator(mx.nd.array(flow), transform_type="warp"))
    embedding = mx.nd.L2Normalization(warped.slice_axis(1, 20, 60), mode="channel")
    cosine = mx.nd.broadcast_mul(embedding, embedding[2:3]).sum(axis=1, keepdims=True)
    weights = mx.nd.softmax(cosine, axis=0)
    out = mx.nd.broadcast_mul(warped.slice_axis(1, 0, 20), weights).sum(axis=0, keepdims=True)
    ours, our_weights = run(ring, flow, order, 20, 2)
    np.testing.assert_allclose(our_weights, weights.asnumpy(), atol=1e-5)
    np.testing.assert_allclose(ours, out.asnumpy(), atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 6), st.integers(1, 10), st.floats(0, 20))
def test_weights_sum_to_one_and_the_result_lies_within_the_features(seed, frames, height, width, spread):
    ring, flow, order = random_case(3, frames, height, width, 5, 7, spread, seed)
    out, weights = run(ring, flow, order, 5, frames - 1)
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-5)
    assert (weights > 0).all()
    assert np.abs(out).max() <= np.abs(ring[..., :5]).max() * (1 + 1e-5)


@pytest.mark.parametrize("threads", [2, 8])
def test_the_number_of_threads_changes_no_bit(threads):
    ring, flow, order = random_case(3, 5, 11, 19, 9, 21)
    results = []
    for number in (1, threads):
        out, weights = np.empty((9, 11, 19), np.float32), np.empty((5, 11, 19), np.float32)
        shape = (3, 5, 11, 19, 9, 21, 2)
        Kernels(number).call("fgfa_aggregate_cpu", shape, ring, flow, order, out, weights)
        results.append((out, weights))
    for one, many in zip(*results):
        assert np.array_equal(one, many)


def test_as_a_symbol_with_and_without_weights():
    ring, flow, order = random_case(3, 3, 4, 5, 6, 6)
    shapes = {"ring": ring.shape, "flow": flow.shape, "order": order.shape}
    arrays = {"ring": mx.nd.array(ring), "flow": mx.nd.array(flow), "order": mx.nd.array(order)}
    expected = run(ring, flow, order, 6, 1)
    for with_weights in (False, True):
        options = {"feature_channels": 6, "current": 1, "name": "agg", "with_weights": with_weights}
        symbol = COMPILED.aggregate(*variables("ring", "flow", "order"), **options)
        outputs = symbol.simple_bind(mx.cpu(), grad_req="null", **shapes).forward(**arrays)
        assert len(outputs) == 1 + with_weights
        for ours, theirs in zip(outputs, expected):
            assert np.array_equal(ours.asnumpy(), theirs)


def test_it_passes_no_gradient():
    arrays = [mx.nd.array(a) for a in random_case(2, 3, 3, 4, 5, 5)]
    for array in arrays:
        array.attach_grad()
    with mx.autograd.record():
        out = EAGER.aggregate(*arrays, feature_channels=5, current=1)
    out.backward()
    for array in arrays:
        assert not array.grad.asnumpy().any()


def test_to_ring_puts_the_channels_last():
    features = np.arange(24, dtype=np.float32).reshape(1, 4, 2, 3)
    assert np.array_equal(to_ring(EAGER, mx.nd.array(features)).asnumpy(), features.transpose(0, 2, 3, 1))
    assert to_ring(COMPILED, mx.sym.Variable("f")).infer_shape(f=(2, 4, 5, 6))[1] == [(2, 5, 6, 4)]


def test_positions_left_out_do_not_count():
    ring, flow, order = random_case(4, 5, 6, 9, 12, 20)
    kept = [0, 2, 3]
    expected, expected_weights = run(ring, flow[kept], order[kept], 12, 1)
    order[[1, 4]] = -1
    out, weights = run(ring, flow, order, 12, 2)
    np.testing.assert_allclose(out, expected, atol=2e-6)
    np.testing.assert_allclose(weights[kept], expected_weights, atol=2e-6)
    assert not weights[[1, 4]].any()


def test_the_current_position_cannot_be_left_out():
    ring, flow, order = random_case(3, 2, 2, 2, 2, 2)
    order[0] = -1
    with pytest.raises(mx.base.MXNetError, match=r"order\[0\] is .*: not a slot of the ring of 3"):
        run(ring, flow, order, 2, 0)


@pytest.mark.parametrize("slot", [3, -2, 0.5, np.nan])
def test_refuses_a_position_without_a_slot(slot):
    ring, flow, order = random_case(3, 2, 2, 2, 2, 2)
    order[1] = slot
    with pytest.raises(mx.base.MXNetError, match=r"order\[1\] is .*: not a slot of the ring of 3"):
        run(ring, flow, order, 2, 0)


@pytest.mark.parametrize(
    ("ring", "flow", "order", "channels", "current", "message"),
    [
        (
            (2, 3, 4),
            (2, 2, 3, 4),
            (2,),
            2,
            0,
            "features has shape (2, 3, 4); it must be (slots, height, width, channels)",
        ),
        ((2, 3, 4, 5), (2, 2, 4, 3), (2,), 2, 0, "flow has shape (2, 2, 4, 3)"),
        ((2, 3, 4, 5), (2, 2, 3, 4), (3,), 2, 0, "order has shape (3,); it must be (frames,)"),
        ((2, 3, 4, 5), (2, 2, 3, 4), (2,), 5, 0, "its last axis must be longer than feature_channels 5"),
        ((2, 3, 4, 5), (2, 2, 3, 4), (2,), 2, 2, "attribute 'current' is 2; the window has 2 frames"),
        ((2, 3, 4, 5), (2, 2, 3, 4), (2,), 0, 0, "attribute 'feature_channels' is '0'"),
        ((2, 3, 4, 5), (2, 2, 3, 4), (2,), 2, -1, "attribute 'current' is '-1'"),
    ],
)
def test_refuses_wrong_shapes_and_attributes(ring, flow, order, channels, current, message):
    with pytest.raises(mx.base.MXNetError) as error:
        run(np.zeros(ring), np.zeros(flow), np.zeros(order), channels, current)
    assert message in str(error.value)
