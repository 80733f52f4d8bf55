"""Named arrays in, named arrays out: inference, and steps of training on one device or several."""

from __future__ import annotations

import numpy as np
import pytest

from lib.backends.base import Sgd
from lib.backends.mxnet.loader import mx
from lib.backends.mxnet.runtime import Forward, TrainStep, devices, shapes_of
from lib.errors import InputError
from tests.networks import run

ARGS = {
    "conv_weight": np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32),
    "conv_bias": np.float32([0.5, -0.5]),
    "bn_gamma": np.float32([1, 2]),
    "bn_beta": np.float32([0, 1]),
}
AUXS = {"bn_moving_mean": np.float32([0.1, 0.2]), "bn_moving_var": np.float32([1, 2])}


def network(data=None):
    data = mx.sym.Variable("data") if data is None else data
    x = mx.sym.Convolution(data, num_filter=2, kernel=(3, 3), pad=(1, 1), name="conv")
    return mx.sym.BatchNorm(x, use_global_stats=True, fix_gamma=False, name="bn")


def loss():
    """0.1 times the sum over the batch of the squared error of the mean output."""
    guess = mx.sym.mean(network(), axis=(1, 2, 3))
    return mx.sym.MakeLoss(mx.sym.square(guess - mx.sym.Variable("target")), grad_scale=0.1, name="error")


def batch(seed, size=(4, 3, 6, 8)):
    rng = np.random.default_rng(seed)
    return {
        "data": rng.normal(size=size).astype(np.float32),
        "target": rng.normal(size=size[:1]).astype(np.float32),
    }


def make_step(devices=1, trainable=None, **options):
    contexts = [mx.cpu(number) for number in range(devices)]
    chosen = set(ARGS) if trainable is None else trainable
    return TrainStep(loss(), contexts, ARGS, AUXS, chosen, Sgd(momentum=0.9, **options))


def values(step):
    args, auxs = step.params()
    return {**args, **auxs}


# Devices


def test_no_gpus_is_the_cpu():
    assert devices("") == [mx.cpu()]


@pytest.mark.skipif(mx.runtime.Features().is_enabled("CUDA"), reason="this MXNet has GPUs")
@pytest.mark.parametrize("gpus, missing", [("0", 0), ("1,0", 1)])
def test_a_gpu_that_is_not_there(gpus, missing):
    with pytest.raises(InputError, match=rf"gpus: there is no GPU {missing}, .*CPU"):
        devices(gpus)


# Inference


def test_shapes_of_a_symbol():
    data = mx.sym.BatchNorm(mx.sym.Variable("data"), name="bn")
    symbol = mx.sym.FullyConnected(data, num_hidden=5, name="fc")
    args, auxs = shapes_of(symbol, data=(2, 3), unused=(7,))
    assert args == {"bn_gamma": (3,), "bn_beta": (3,), "fc_weight": (5, 3), "fc_bias": (5,)}
    assert auxs == {"bn_moving_mean": (3,), "bn_moving_var": (3,)}


def test_forward_gives_outputs_by_name():
    x = mx.sym.Variable("data")
    symbol = mx.sym.Group([network(x), mx.sym.sum(x, name="total")])
    forward = Forward(symbol, mx.cpu(), ARGS, AUXS)
    data = batch(0)["data"]
    outputs = forward(data=data)
    assert list(outputs) == forward.outputs == ["bn", "total"]
    assert np.asarray(outputs["total"]).item() == pytest.approx(data.sum(), rel=1e-4)
    assert outputs["bn"].shape == (4, 2, 6, 8)


def test_parameters_that_the_symbol_does_not_use_are_left_out():
    forward = Forward(network(), mx.cpu(), {**ARGS, "other": np.zeros(3, np.float32)}, {**AUXS, "more": np.zeros(3)})
    assert forward(data=batch(0)["data"])["bn"].shape == (4, 2, 6, 8)


def test_other_sizes_in_any_order_equal_a_fresh_network():
    forward = Forward(network(), mx.cpu(), ARGS, AUXS)
    for number, size in enumerate([(1, 3, 6, 8), (2, 3, 6, 8), (1, 3, 3, 3), (3, 3, 20, 10), (1, 3, 6, 8)]):
        data = batch(number, size)["data"]
        fresh = run(network(), ARGS, AUXS, data=data)["bn"]
        np.testing.assert_allclose(np.asarray(forward(data=data)["bn"]), fresh, atol=1e-5)


def test_numpy_and_arrays_of_the_device_alike():
    data = batch(0)["data"]
    by_numpy = run(network(), ARGS, AUXS, data=data)["bn"]
    as_nd = {name: mx.nd.array(value) for name, value in ARGS.items()}
    np.testing.assert_array_equal(run(network(), as_nd, AUXS, data=mx.nd.array(data))["bn"], by_numpy)
    (kept,) = Forward(mx.sym.identity(mx.sym.Variable("x")), mx.cpu(), {}, {})(x=data).values()
    np.testing.assert_array_equal(run(network(), ARGS, AUXS, data=kept)["bn"], by_numpy)


def test_inputs_are_written_in_place_and_keep_their_values():
    symbol = mx.sym.Group([mx.sym.Variable("a") + mx.sym.Variable("b")])
    forward = Forward(symbol, mx.cpu(), {}, {})
    slots = forward.buffers(a=(2, 3), b=(2, 3))
    slots["a"].write([0], np.float32([[1, 2, 3]]))
    slots["a"].write(range(1, 2), np.float32([[5, 5, 5]]))
    (out,) = forward(b=np.ones((2, 3), np.float32)).values()
    np.testing.assert_array_equal(out, [[2, 3, 4], [6, 6, 6]])
    (out,) = forward(b=np.zeros((2, 3), np.float32)).values()
    np.testing.assert_array_equal(out, [[1, 2, 3], [5, 5, 5]])
    slots["a"].write([1, 0], out)  # from the device, in another order
    (out,) = forward(b=np.zeros((2, 3), np.float32)).values()
    np.testing.assert_array_equal(out, [[5, 5, 5], [1, 2, 3]])
    np.testing.assert_array_equal(slots["a"], [[5, 5, 5], [1, 2, 3]])
    assert slots["a"].shape == (2, 3)


# Training


def test_two_devices_equal_one_with_both_batches():
    """The loss is a sum over the batch, so that the sum of two gradients is that of the batches joined."""
    both = make_step(2, wd=0.01)
    one = make_step(1, wd=0.01)
    for number in range(3):
        first, second = batch(2 * number), batch(2 * number + 1)
        outputs = both.step([first, second], 0.05)
        joined = {name: np.concatenate((first[name], second[name])) for name in first}
        (expected,) = one.step([joined], 0.05)
        found = np.concatenate([each["error"] for each in outputs])
        np.testing.assert_allclose(found, expected["error"], rtol=1e-4, atol=1e-6)
        for name, gradient in one.gradients().items():
            np.testing.assert_allclose(both.gradients()[name], gradient, rtol=1e-4, atol=1e-5, err_msg=name)
    for name, value in values(one).items():
        np.testing.assert_allclose(values(both)[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_all_devices_have_the_same_weights_after_a_step():
    step = make_step(2)
    first, second = step.step([batch(0)] * 2, 0.05), step.step([batch(1)] * 2, 0.05)
    for outputs in (first, second):
        np.testing.assert_array_equal(outputs[0]["error"], outputs[1]["error"])
    assert not np.array_equal(first[0]["error"], second[0]["error"])


def test_a_gradient_by_finite_differences():
    step = make_step(trainable={"conv_bias"})
    step.step([batch(0)], 0.0)
    numeric = []
    for channel in range(2):
        sides = []
        for shift in (0.01, -0.01):
            args = {**ARGS, "conv_bias": ARGS["conv_bias"] + np.float32(shift) * np.eye(2, dtype=np.float32)[channel]}
            sides.append(run(loss(), args, AUXS, **batch(0))["error"].sum())
        numeric.append(0.1 * (sides[0] - sides[1]) / 0.02)
    np.testing.assert_allclose(step.gradients()["conv_bias"], numeric, rtol=1e-2)


def test_outputs_are_those_before_the_step_and_training_lowers_the_loss():
    step = make_step()
    expected = run(loss(), ARGS, AUXS, **batch(0))["error"]
    losses = [step.step([batch(0)], 0.02)[0]["error"] for _ in range(20)]
    np.testing.assert_allclose(losses[0], expected, rtol=1e-5)
    assert losses[-1].sum() < 0.8 * losses[0].sum()


def test_frozen_parameters_and_statistics_do_not_change():
    step = make_step(2, trainable={"conv_weight", "bn_beta"}, wd=0.1)
    for number in range(3):
        step.step([batch(number)] * 2, 0.1)
    found = values(step)
    assert set(found) == {*ARGS, *AUXS} and set(step.gradients()) == {"conv_weight", "bn_beta"}
    for name, value in {**ARGS, **AUXS}.items():
        assert np.array_equal(found[name], value) == (name not in ("conv_weight", "bn_beta")), name


def test_parameters_before_any_step_are_those_given():
    found = values(make_step())
    for name, value in {**ARGS, **AUXS}.items():
        np.testing.assert_array_equal(found[name], value)


def test_going_on_from_parameters_and_state_is_exact():
    sizes = [(2, 3, 6, 8), (1, 3, 4, 4), (2, 3, 6, 8), (3, 3, 9, 5)]
    batches = [batch(number, size) for number, size in enumerate(sizes)]
    whole = make_step(wd=0.01)
    for each in batches:
        whole.step([each], 0.05)
    first = make_step(wd=0.01)
    for each in batches[:2]:
        first.step([each], 0.05)
    kept = values(first)
    second = TrainStep(
        loss(),
        [mx.cpu()],
        {name: kept[name] for name in ARGS},
        {name: kept[name] for name in AUXS},
        set(ARGS),
        Sgd(momentum=0.9, wd=0.01),
    )
    second.load_state(first.state())
    for each in batches[2:]:
        second.step([each], 0.05)
    for name, value in values(whole).items():
        np.testing.assert_array_equal(values(second)[name], value, err_msg=name)


def test_sizes_may_differ_between_devices_and_steps():
    step = make_step(2)
    for sizes in (((1, 3, 4, 4), (2, 3, 8, 8)), ((2, 3, 8, 8), (1, 3, 3, 9)), ((5, 3, 12, 12), (1, 3, 4, 4))):
        outputs = step.step([batch(0, size) for size in sizes], 0.01)
        assert [len(each["error"]) for each in outputs] == [size[0] for size in sizes]


def test_a_batch_for_each_device():
    with pytest.raises(ValueError, match="1 batches for 2 devices"):
        make_step(2).step([batch(0)], 0.1)
