"""The warp operator against numpy, golden numbers and differences."""

from __future__ import annotations

import numpy as np
import pytest

from bench import operators_reference as reference
from lib.backends.mxnet.loader import mx
from tests.networks import COMPILED, EAGER, variables
from tests.ops.common import Kernels, golden, numeric_gradient


def run(data, flow):
    return EAGER.warp(mx.nd.array(data), mx.nd.array(flow)).asnumpy()


def gradients(data, flow, above):
    data, flow = mx.nd.array(data), mx.nd.array(flow)
    data.attach_grad()
    flow.attach_grad()
    with mx.autograd.record():
        out = EAGER.warp(data, flow)
    out.backward(mx.nd.array(above))
    return data.grad.asnumpy(), flow.grad.asnumpy()


def random_case(shape, spread=2.0, seed=0):
    rng = np.random.RandomState(seed)
    batch, _, height, width = shape
    return (
        rng.standard_normal(shape).astype(np.float32),
        (rng.standard_normal((batch, 2, height, width)) * spread).astype(np.float32),
    )


def test_golden_warped_features():
    warped = run(golden("features"), golden("flow"))
    expected = golden("warped")
    assert np.abs(warped - expected).max() <= 1e-4 * np.abs(expected).max()


def test_moves_by_whole_cells_and_zero_outside():
    data = np.arange(1, 7, dtype=np.float32).reshape(1, 1, 2, 3)
    flow = np.zeros((1, 2, 2, 3), np.float32)
    flow[0, 0] = 1  # x
    assert run(data, flow).tolist() == [[[[2, 3, 0], [5, 6, 0]]]]
    flow[0, 0], flow[0, 1] = 0, -1  # y
    assert run(data, flow).tolist() == [[[[0, 0, 0], [1, 2, 3]]]]


def test_half_outside_keeps_the_half_inside():
    data = np.full((1, 1, 1, 2), 8, np.float32)
    flow = np.zeros((1, 2, 1, 2), np.float32)
    flow[0, 0, 0] = (-0.25, 0.25)
    assert run(data, flow).ravel().tolist() == [6, 6]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30, -1.5, 7.0])
def test_a_flow_that_leads_nowhere_gives_zero_and_no_gradient(value):
    data = np.ones((1, 2, 1, 1), np.float32)
    flow = np.full((1, 2, 1, 1), value, np.float32)
    assert run(data, flow).ravel().tolist() == [0, 0]
    for gradient in gradients(data, flow, np.ones_like(data)):
        assert not gradient.any()


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 5, 7), (3, 17, 1, 9), (1, 4, 9, 1), (2, 33, 6, 5)])
def test_equals_numpy(shape):
    data, flow = random_case(shape)
    np.testing.assert_allclose(run(data, flow), reference.warp(data, flow), atol=1e-5)


def test_a_batch_equals_its_images():
    data, flow = random_case((3, 4, 5, 6))
    together = run(data, flow)
    for k in range(3):
        assert np.array_equal(together[k : k + 1], run(data[k : k + 1], flow[k : k + 1]))


def test_gradients_equal_differences():
    data, flow = random_case((2, 2, 3, 4), spread=1.2, seed=3)
    above = np.random.RandomState(5).standard_normal(data.shape).astype(np.float32)
    grad_data, grad_flow = gradients(data, flow, above)
    by_data = numeric_gradient(lambda d: (reference.warp(d, flow) * above).sum(), data)
    by_flow = numeric_gradient(lambda f: (reference.warp(data, f) * above).sum(), flow)
    np.testing.assert_allclose(grad_data, by_data, atol=1e-4)
    np.testing.assert_allclose(grad_flow, by_flow, atol=1e-4)
    for ours, written_out in zip((grad_data, grad_flow), reference.warp_gradients(data, flow, above)):
        np.testing.assert_allclose(ours, written_out, atol=1e-5)


def test_equals_mxnets_own_operators_with_gradients():
    data, flow = random_case((2, 5, 6, 7), spread=3)
    above = np.random.RandomState(1).standard_normal(data.shape).astype(np.float32)
    d, f = mx.nd.array(data), mx.nd.array(flow)
    d.attach_grad()
    f.attach_grad()
    with mx.autograd.record():
        out = mx.nd.BilinearSampler(d, mx.nd.GridGenerator(f, transform_type="warp"))
    out.backward(mx.nd.array(above))
    np.testing.assert_allclose(run(data, flow), out.asnumpy(), atol=2e-5)
    for ours, theirs in zip(gradients(data, flow, above), (d.grad, f.grad)):
        np.testing.assert_allclose(ours, theirs.asnumpy(), atol=1e-4)


@pytest.mark.parametrize("threads", [2, 8])
def test_the_number_of_threads_changes_no_bit(threads):
    data, flow = random_case((2, 19, 13, 11), spread=3)
    above = random_case(data.shape, seed=9)[0]
    results = []
    for number in (1, threads):
        kernels = Kernels(number)
        out, grad_data, grad_flow = np.empty_like(data), np.empty_like(data), np.empty_like(flow)
        kernels.call("fgfa_warp_forward_cpu", data.shape, data, flow, out)
        kernels.call("fgfa_warp_backward_cpu", data.shape, above, data, flow, grad_data, grad_flow)
        results.append((out, grad_data, grad_flow))
    for one, many in zip(*results):
        assert np.array_equal(one, many)


def test_as_a_symbol_it_binds_names_and_trains():
    symbol = COMPILED.warp(*variables("data", "flow"), name="moved")
    assert symbol.list_outputs() == ["moved_output"]
    data, flow = random_case((1, 2, 3, 4))
    executor = symbol.simple_bind(mx.cpu(), data=data.shape, flow=flow.shape)
    out = executor.forward(is_train=True, data=mx.nd.array(data), flow=mx.nd.array(flow))[0]
    executor.backward(mx.nd.ones(data.shape))
    np.testing.assert_allclose(out.asnumpy(), reference.warp(data, flow), atol=1e-5)
    np.testing.assert_allclose(
        executor.grad_dict["data"].asnumpy(), gradients(data, flow, np.ones_like(data))[0], atol=1e-6
    )
    again = mx.sym.load_json(symbol.tojson())
    assert again.list_arguments() == ["data", "flow"]


def test_no_image_gives_no_output():
    with mx.util.np_shape(True):
        out = EAGER.warp(mx.nd.zeros((0, 3, 4, 5)), mx.nd.zeros((0, 2, 4, 5)))
        assert out.shape == (0, 3, 4, 5)


@pytest.mark.parametrize(
    ("data", "flow", "message"),
    [
        ((1, 3, 4), (1, 2, 4, 5), "data has shape (1, 3, 4); it must be (batch, channels, height, width)"),
        ((1, 3, 4, 5), (1, 2, 5, 4), "flow has shape (1, 2, 5, 4); it must be (batch, 2, height, width)"),
        ((2, 3, 4, 5), (1, 2, 4, 5), "flow has shape (1, 2, 4, 5)"),
        ((1, 3, 4, 5), (1, 3, 4, 5), "flow has shape (1, 3, 4, 5)"),
    ],
)
def test_refuses_wrong_shapes(data, flow, message):
    with pytest.raises(mx.base.MXNetError) as error:
        EAGER.warp(mx.nd.zeros(data), mx.nd.zeros(flow))
    assert message in str(error.value)


def test_refuses_other_types_and_attributes():
    data, flow = mx.nd.zeros((1, 1, 2, 2)), mx.nd.zeros((1, 2, 2, 2))
    with pytest.raises(mx.base.MXNetError, match="input 1 must be float32"):
        EAGER.warp(data, flow.astype("float64"))
    with pytest.raises(mx.base.MXNetError, match="unknown attribute 'scale'; valid attributes: none"):
        mx.nd.fgfa_warp(data, flow, scale=2)
    with pytest.raises(AssertionError, match="must have NDArray type, but got <Symbol flow>"):
        EAGER.warp(data, mx.sym.Variable("flow"))
    with pytest.raises(AssertionError, match="must be Symbol instances, but got"):
        COMPILED.warp(mx.sym.Variable("data"), flow)


def test_ten_operators_on_one_variable_sum_their_gradients():
    """MXNet gets the sum of 8 and more wrong unless lib.backends.mxnet.loader sets its limit before the import."""
    data, flow = random_case((1, 2, 3, 4))
    inputs = variables("data", "flow")
    total = mx.sym.add_n(*(COMPILED.warp(*inputs) for _ in range(10)))
    executor = total.simple_bind(mx.cpu(), data=data.shape, flow=flow.shape)
    executor.forward(is_train=True, data=mx.nd.array(data), flow=mx.nd.array(flow))
    executor.backward(mx.nd.ones(data.shape))
    for name, one in zip(("data", "flow"), gradients(data, flow, np.ones_like(data))):
        np.testing.assert_allclose(executor.grad_dict[name].asnumpy(), 10 * one, rtol=1e-5, atol=1e-5)
