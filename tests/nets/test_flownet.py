"""The flow network: sizes, rounding, and its pre-training losses."""

from __future__ import annotations

import numpy as np
import pytest

from lib.backends.mxnet.loader import mx
from lib.nets import params
from lib.nets.flownet import (
    FlowNet,
    _halve,
    double_by_convolution,
    flow,
    flow_of_prepared,
    for_convolutions,
    pretraining_losses,
)
from tests.networks import run, shapes_of, symbol, variables

SMALL = {"encoder": (4, 4, 6, 6, 8, 8), "decoder": (6, 6, 4, 4)}
INPUTS = ("current", "other")


def network(**options):
    return symbol(flow, *variables(*INPUTS), FlowNet(**{**SMALL, **options}))


@pytest.mark.parametrize("height, width", [(64, 64), (144, 208), (135, 199), (562, 1000), (17, 33)])
@pytest.mark.parametrize("options, stride", [
    ({}, 16),
    ({"pool_output": False}, 8),
    ({"pool_input": False}, 8),
    ({"pool_input": False, "pool_output": False}, 4),
])  # fmt: skip
def test_flow_has_the_size_of_the_features(height, width, options, stride):
    shape = (2, 3, height, width)
    (out,) = network(**options).infer_shape(current=shape, other=shape)[1]
    assert out == (2, 2, -(-height // stride), -(-width // stride))


def test_fewer_levels():
    (out,) = network(encoder=(4, 4, 6, 6), decoder=(4, 4)).infer_shape(current=(1, 3, 64, 64), other=(1, 3, 64, 64))[1]
    assert out == (1, 2, 4, 4)


def test_halving_rounds_up_and_divides_by_the_cells_that_exist():
    x = np.float32([[[[1, 3, 5], [2, 4, 7], [10, 20, 40]]]])
    (out,) = run(symbol(_halve, *variables("x")), x=x).values()
    np.testing.assert_allclose(out[0, 0], [[2.5, 6], [15, 40]])


def initialised(symbol, **inputs):
    args, _ = shapes_of(symbol, **inputs)
    return {name: params.initial(name, shape, 0) for name, shape in args.items()}


def test_each_pair_of_a_batch_is_by_itself_and_the_order_of_a_pair_matters():
    whole = network()
    shape = (3, 3, 40, 56)
    args = initialised(whole, current=shape, other=shape)
    current, other = (np.random.default_rng(seed).normal(0, 60, shape).astype(np.float32) for seed in (0, 1))

    def found(current, other):
        (out,) = run(whole, args, current=current, other=other).values()
        return out

    together = found(current, other)
    for row in range(3):
        one = slice(row, row + 1)
        np.testing.assert_allclose(found(current[one], other[one]), together[one], atol=1e-6 * np.abs(together).max())
    assert np.abs(found(other, current) - together).max() > 0.1 * np.abs(together).max()


@pytest.mark.parametrize("height, width", [(40, 56), (33, 71)])
def test_convolutions_in_place_of_deconvolutions_give_the_same(height, width):
    net = FlowNet(encoder=(4, 5, 6, 7, 8), decoder=(7, 6, 5))
    symbols = [
        symbol(flow_of_prepared, *variables(*INPUTS), net, **options)
        for options in ({}, {"double": double_by_convolution})
    ]
    images = {name: np.random.default_rng(4).normal(size=(2, 3, height, width)).astype(np.float32) for name in INPUTS}
    args = initialised(symbols[0], **{name: value.shape for name, value in images.items()})
    args = {name: np.random.default_rng(5).normal(0, 0.3, np.shape(value)) for name, value in args.items()}
    expected, found = (
        next(iter(run(each, values, **images).values()))
        for each, values in zip(symbols, (args, for_convolutions(args)))
    )
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_pretraining_losses_by_hand():
    """The loss of a scale is its weight times the mean over cells of cell weight times end-point error."""
    net = FlowNet(encoder=(4, 4, 6), decoder=(4,), pool_input=False, pool_output=False)
    weights = (1.0, 0.5)
    losses = symbol(pretraining_losses, net, weights)
    assert losses.list_outputs() == ["epe0_output", "epe1_output", "flow_output"]
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(0, 60, (2, 3, 32, 32)) for name in INPUTS}
    for scale, cells in ((0, 8), (1, 4)):
        inputs[f"flow{scale}"] = rng.normal(size=(2, 2, cells, cells))
        inputs[f"weight{scale}"] = rng.uniform(0, 2, (2, 1, cells, cells))
    inputs = {name: value.astype(np.float32) for name, value in inputs.items()}
    args = initialised(losses, **{name: value.shape for name, value in inputs.items()})
    coarse = losses.get_internals()["Convolution1_output"]
    outputs = run(mx.sym.Group([*losses, coarse]), args, **inputs)
    predictions = outputs["flow"], net.scale * outputs["Convolution1"]
    for scale, (prediction, weight) in enumerate(zip(predictions, weights)):
        error = np.sqrt(((prediction - inputs[f"flow{scale}"]) ** 2).sum(axis=1, keepdims=True) + 1e-4)
        expected = weight * (error * inputs[f"weight{scale}"]).mean()
        assert outputs[f"epe{scale}"] == pytest.approx(expected, rel=1e-4)
