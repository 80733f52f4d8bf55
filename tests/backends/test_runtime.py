"""Named arrays in, named arrays out: inference, and steps of training on one device or several, in every backend."""

from __future__ import annotations

import numpy as np
import pytest

from lib.backends.base import Sgd
from lib.errors import InputError

ARGS = {
    "conv_weight": np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32),
    "conv_bias": np.float32([0.5, -0.5]),
    "bn_gamma": np.float32([1, 2]),
    "bn_beta": np.float32([0, 1]),
}
AUXS = {"bn_moving_mean": np.float32([0.1, 0.2]), "bn_moving_var": np.float32([1, 2])}


def features(F, data, global_stats=True):
    x = F.Convolution(data, num_filter=2, kernel=(3, 3), pad=(1, 1), name="conv")
    return F.BatchNorm(x, use_global_stats=global_stats, fix_gamma=False, eps=1e-3, momentum=0.9, name="bn")


def network(F):
    return {"bn": features(F, F.Variable("data"))}


def loss(F, global_stats=True):
    """0.1 times the sum over the batch of the squared error of a hundredth of the sum of the outputs."""
    guess = features(F, F.Variable("data"), global_stats)
    for axis in (3, 2, 1):
        guess = F.sum(guess, axis=axis, keepdims=False)
    error = F.square(guess / 100 - F.Variable("target"))
    return {"error": F.MakeLoss(error, grad_scale=0.1, name="error")}


def batch(seed, size=(4, 3, 6, 8)):
    rng = np.random.default_rng(seed)
    return {
        "data": rng.normal(size=size).astype(np.float32),
        "target": rng.normal(size=size[:1]).astype(np.float32),
    }


def run(backend, build, args=ARGS, auxs=AUXS, **inputs):
    outputs = backend.network(build, backend.devices("")[0], args, auxs)(**inputs)
    return {name: np.asarray(value) for name, value in outputs.items()}


def make_step(backend, devices=1, trainable=None, build=loss, args=ARGS, auxs=AUXS, **options):
    chosen = set(ARGS) if trainable is None else trainable
    return backend.trainer(build, backend.devices("") * devices, args, auxs, chosen, Sgd(momentum=0.9, **options))


def values(step):
    args, auxs = step.params()
    return {**args, **auxs}


# Devices


@pytest.mark.parametrize("gpus, missing", [("97", 97), ("98,97", 98)])
def test_a_gpu_that_is_not_there(backend, gpus, missing):
    with pytest.raises(InputError, match=rf"gpus: there is no GPU {missing}, (MXNet|PyTorch) sees .*CPU"):
        backend.devices(gpus)


# Inference


def test_shapes_of_a_network(backend):
    args, auxs = backend.shapes(network, data=(2, 3, 4, 4), unused=(7,))
    assert args == {name: value.shape for name, value in ARGS.items()}
    assert auxs == {name: value.shape for name, value in AUXS.items()}


def test_a_network_gives_outputs_by_name(backend):
    def build(F):
        x = F.Variable("data")
        return {"bn": features(F, x), "total": F.sum(x, axis=0, keepdims=False, name="total")}

    data = batch(0)["data"]
    outputs = run(backend, build, data=data)
    assert list(outputs) == ["bn", "total"]
    np.testing.assert_allclose(outputs["total"], data.sum(axis=0), rtol=1e-4, atol=1e-5)
    assert outputs["bn"].shape == (4, 2, 6, 8)


def test_parameters_that_the_network_does_not_use_are_left_out(backend):
    args, auxs = {**ARGS, "other": np.zeros(3, np.float32)}, {**AUXS, "more": np.zeros(3)}
    assert run(backend, network, args, auxs, data=batch(0)["data"])["bn"].shape == (4, 2, 6, 8)


def test_other_sizes_in_any_order_equal_a_fresh_network(backend):
    forward = backend.network(network, backend.devices("")[0], ARGS, AUXS)
    for number, size in enumerate([(1, 3, 6, 8), (2, 3, 6, 8), (1, 3, 3, 3), (3, 3, 20, 10), (1, 3, 6, 8)]):
        data = batch(number, size)["data"]
        fresh = run(backend, network, data=data)["bn"]
        np.testing.assert_allclose(np.asarray(forward(data=data)["bn"]), fresh, atol=1e-5)


def test_numpy_and_arrays_of_the_device_alike(backend):
    data = batch(0)["data"]
    kept = backend.network(lambda F: {"x": F.identity(F.Variable("x"), name="x")}, backend.devices("")[0], {}, {})
    (array,) = kept(x=data).values()
    np.testing.assert_array_equal(run(backend, network, data=array)["bn"], run(backend, network, data=data)["bn"])


def test_inputs_are_written_in_place_and_keep_their_values(backend):
    def build(F):
        return {"out": F.identity(F.Variable("a") + F.Variable("b"), name="out")}

    forward = backend.network(build, backend.devices("")[0], {}, {})
    slots = forward.buffers(a=(2, 3), b=(2, 3))
    slots["a"].write([0], np.float32([[1, 2, 3]]))
    slots["a"].write(range(1, 2), np.float32([[5, 5, 5]]))
    (out,) = forward(b=np.ones((2, 3), np.float32)).values()
    np.testing.assert_array_equal(out, [[2, 3, 4], [6, 6, 6]])
    (out,) = forward(b=np.zeros((2, 3), np.float32)).values()
    np.testing.assert_array_equal(out, [[1, 2, 3], [5, 5, 5]])
    before = np.asarray(slots["a"])
    slots["a"].write([1, 0], out)  # from the device, in another order
    (out,) = forward().values()
    np.testing.assert_array_equal(out, [[5, 5, 5], [1, 2, 3]])
    np.testing.assert_array_equal(slots["a"], [[5, 5, 5], [1, 2, 3]])
    np.testing.assert_array_equal(before, [[1, 2, 3], [5, 5, 5]])
    assert slots["a"].shape == (2, 3)


# Training


def test_two_devices_equal_one_with_both_batches(backend):
    """The loss is a sum over the batch, so that the sum of two gradients is that of the batches joined."""
    both = make_step(backend, 2, wd=0.01)
    one = make_step(backend, 1, wd=0.01)
    for number in range(3):
        first, second = batch(2 * number), batch(2 * number + 1)
        outputs = both.step([first, second], 0.05)
        joined = {name: np.concatenate((first[name], second[name])) for name in first}
        (expected,) = one.step([joined], 0.05)
        found = np.concatenate([each["error"] for each in outputs])
        np.testing.assert_allclose(found, expected["error"], rtol=1e-4, atol=1e-5)
        for name, gradient in one.gradients().items():
            np.testing.assert_allclose(both.gradients()[name], gradient, rtol=1e-4, atol=1e-5, err_msg=name)
    for name, value in values(one).items():
        np.testing.assert_allclose(values(both)[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_all_devices_have_the_same_weights_after_a_step(backend):
    step = make_step(backend, 2)
    first, second = step.step([batch(0)] * 2, 0.05), step.step([batch(1)] * 2, 0.05)
    for outputs in (first, second):
        np.testing.assert_array_equal(outputs[0]["error"], outputs[1]["error"])
    assert not np.array_equal(first[0]["error"], second[0]["error"])


def test_a_gradient_by_finite_differences(backend):
    step = make_step(backend, trainable={"conv_bias"})
    step.step([batch(0)], 0.0)
    numeric = []
    for channel in range(2):
        sides = []
        for shift in (0.01, -0.01):
            args = {**ARGS, "conv_bias": ARGS["conv_bias"] + np.float32(shift) * np.eye(2, dtype=np.float32)[channel]}
            sides.append(run(backend, loss, args, **batch(0))["error"].sum())
        numeric.append(0.1 * (sides[0] - sides[1]) / 0.02)
    np.testing.assert_allclose(step.gradients()["conv_bias"], numeric, rtol=1e-2)


def test_outputs_are_those_before_the_step_and_training_lowers_the_loss(backend):
    step = make_step(backend)
    expected = run(backend, loss, **batch(0))["error"]
    losses = [step.step([batch(0)], 0.02)[0]["error"] for _ in range(20)]
    np.testing.assert_allclose(losses[0], expected, rtol=1e-4)
    assert losses[-1].sum() < 0.8 * losses[0].sum()


def test_frozen_parameters_and_statistics_do_not_change(backend):
    step = make_step(backend, 2, trainable={"conv_weight", "bn_beta"}, wd=0.1)
    for number in range(3):
        step.step([batch(number)] * 2, 0.1)
    found = values(step)
    assert set(found) == {*ARGS, *AUXS} and set(step.gradients()) == {"conv_weight", "bn_beta"}
    for name, value in {**ARGS, **AUXS}.items():
        assert np.array_equal(found[name], value) == (name not in ("conv_weight", "bn_beta")), name


def test_statistics_of_the_batch_move_the_moving_ones(backend):
    """new = 0.9 old + 0.1 batch, by the biased variance."""
    step = make_step(backend, build=lambda F: loss(F, global_stats=False))
    step.step([batch(0)], 0.0)
    x = run(backend, lambda F: {"conv": F.Convolution(F.Variable("data"), num_filter=2, kernel=(3, 3), pad=(1, 1),
                                                      name="conv")}, data=batch(0)["data"])["conv"]  # fmt: skip
    found = values(step)
    np.testing.assert_allclose(
        found["bn_moving_mean"], 0.9 * AUXS["bn_moving_mean"] + 0.1 * x.mean(axis=(0, 2, 3)), rtol=1e-4
    )
    np.testing.assert_allclose(
        found["bn_moving_var"], 0.9 * AUXS["bn_moving_var"] + 0.1 * x.var(axis=(0, 2, 3)), rtol=1e-4
    )


def test_parameters_before_any_step_are_those_given(backend):
    found = values(make_step(backend))
    for name, value in {**ARGS, **AUXS}.items():
        np.testing.assert_array_equal(found[name], value)


def test_training_changes_none_of_the_arrays_given(backend):
    before = {name: value.copy() for name, value in {**ARGS, **AUXS}.items()}
    make_step(backend, build=lambda F: loss(F, global_stats=False)).step([batch(0)], 0.1)
    for name, value in {**ARGS, **AUXS}.items():
        np.testing.assert_array_equal(before[name], value)


def test_going_on_from_parameters_and_state_is_exact(backend):
    sizes = [(2, 3, 6, 8), (1, 3, 4, 4), (2, 3, 6, 8), (3, 3, 9, 5)]
    batches = [batch(number, size) for number, size in enumerate(sizes)]
    whole = make_step(backend, wd=0.01)
    for each in batches:
        whole.step([each], 0.05)
    first = make_step(backend, wd=0.01)
    for each in batches[:2]:
        first.step([each], 0.05)
    args, auxs = first.params()
    second = make_step(backend, args=args, auxs=auxs, wd=0.01)
    second.load_state(first.state())
    for each in batches[2:]:
        second.step([each], 0.05)
    for name, value in values(whole).items():
        np.testing.assert_array_equal(values(second)[name], value, err_msg=name)


def test_sizes_may_differ_between_devices_and_steps(backend):
    step = make_step(backend, 2)
    for sizes in (((1, 3, 4, 4), (2, 3, 8, 8)), ((2, 3, 8, 8), (1, 3, 3, 9)), ((5, 3, 12, 12), (1, 3, 4, 4))):
        outputs = step.step([batch(0, size) for size in sizes], 0.01)
        assert [len(each["error"]) for each in outputs] == [size[0] for size in sizes]


def test_a_batch_for_each_device(backend):
    with pytest.raises(ValueError, match="1 batches for 2 devices"):
        make_step(backend, 2).step([batch(0)], 0.1)


def test_outputs_have_the_names_that_the_network_gives_them(backend):
    def build(F):
        data = F.Variable("data")
        return {"first": features(F, data), "second": F.square(data)}

    data = batch(0)["data"]
    found = run(backend, build, data=data)
    assert list(found) == ["first", "second"]
    np.testing.assert_allclose(found["second"], data**2, rtol=1e-6)
