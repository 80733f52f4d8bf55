"""Parameter files, and whether they fit a network."""

from __future__ import annotations

import numpy as np
import pytest

from lib.errors import InputError
from lib.nets import params_file
from lib.nets.params import (
    DETECTION_LAYERS,
    check,
    for_test,
    for_training,
    from_scratch,
    he_normal,
    initial,
    load,
    normal,
    start,
)
from tests.nets.params_bytes import ONE, parameters, stored


def saved(path, arrays):
    params_file.write(path, arrays)
    return path


def test_load_splits_arguments_and_auxiliary_states(tmp_path):
    path = saved(tmp_path / "a.params", {"arg:w": np.ones((2, 3)), "aux:m": np.zeros(4), "arg:b:c": np.ones(1)})
    args, auxs = load(path)
    assert {name: value.shape for name, value in args.items()} == {"w": (2, 3), "b:c": (1,)}
    assert {name: value.shape for name, value in auxs.items()} == {"m": (4,)}


def test_missing_weights_are_told_with_where_to_get_them(tmp_path):
    with pytest.raises(InputError, match=r"none\.params: no such weights; .*model/README\.md"):
        load(tmp_path / "none.params")
    with pytest.raises(InputError, match="no such weights"):
        load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"not parameters at all", bytes(range(256)) * 40],
    ids=["empty", "zip", "text", "all bytes"],
)
def test_a_file_that_is_no_parameters(tmp_path, content):
    path = tmp_path / "a.params"
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"a\.params: not an MXNet parameter file \(its header is missing\)"
    ) as refused:
        load(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_a_file_cut_short(tmp_path, share):
    path = saved(tmp_path / "a.params", {"arg:w": np.ones((20, 30)), "aux:m": np.zeros(4)})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="cut short"):
        load(path)


def test_arrays_without_the_names_of_parameters(tmp_path):
    with pytest.raises(InputError, match=r"contains arrays without names"):
        load(stored(tmp_path / "a.params", parameters(ONE, names=[])))
    for name in ("w", "foo:w"):
        with pytest.raises(InputError, match=rf"array '{name}' is not named arg:NAME or aux:NAME"):
            load(saved(tmp_path / "a.params", {name: np.ones(2)}))


def test_weights_for_test_and_for_training():
    args = {"a": 1, "b": 2, "b_test": 3, "only_test": 4}
    assert for_test(args) == {"a": 1, "b": 3}
    assert for_training(args) == {"a": 1, "b": 2}
    assert for_test({}) == {}


WANTED = {"a": (1, 2), "b": (3,), "c": (4,)}


def test_weights_that_fit():
    check({name: np.zeros(shape) for name, shape in WANTED.items()}, WANTED, "x.params")


@pytest.mark.parametrize("change, message", [
    ({"a": None, "c": None}, "2 missing, first a"),
    ({"z": (1,), "y": (1,)}, "2 extra, first y"),
    ({"b": (2,)}, "1 of wrong shape, first b: (2,) instead of (3,)"),
    ({"a": (2, 1), "b": None, "d": (1,)},
     "1 missing, first b; 1 extra, first d; 1 of wrong shape, first a: (2, 1) instead"),
])  # fmt: skip
def test_weights_of_another_network(change, message):
    shapes = {name: shape for name, shape in {**WANTED, **change}.items() if shape is not None}
    with pytest.raises(InputError) as refused:
        check({name: np.zeros(shape) for name, shape in shapes.items()}, WANTED, "x.params")
    assert str(refused.value).startswith("x.params: weights of another network (") and message in str(refused.value)


def test_starting_values():
    for name in ("x_bias", "bn_x_beta", "bn_x_moving_mean"):
        assert not initial(name, (5,), 0).any()
    for name in ("bn_x_gamma", "bn_x_moving_var"):
        assert (initial(name, (5,), 0) == 1).all()
    stds = {
        "rfcn_cls_weight": 0.01,
        "feat_conv_3x3_weight": 0.01,
        "rpn_cls_score_weight": 0.01,
        "em_conv1_weight": np.sqrt(2 / 450),
        "flow_conv1_weight": np.sqrt(2 / 450),
        "res2a_branch1_weight": np.sqrt(2 / 450),
        "deconv5_weight": np.sqrt(2 / (100 * 4)),
    }
    for name, std in stds.items():
        value = initial(name, (100, 50, 3, 3), 0)
        assert value.dtype == np.float32 and value.std() == pytest.approx(std, rel=0.02), name
        assert abs(value.mean()) < 0.02 * std


def test_starting_values_have_a_stream_of_their_own():
    first = initial("a_weight", (4, 4), 3)
    np.testing.assert_array_equal(first, initial("a_weight", (4, 4), 3))
    assert (first != initial("b_weight", (4, 4), 3)).all() and (first != initial("a_weight", (4, 4), 4)).all()


def test_training_starts_from_what_fits():
    pretrained = {"conv_weight": np.ones((2, 2)), "rpn_weight": np.ones((9, 9)), "fc_weight": np.ones(3)}
    wanted = {"conv_weight": (2, 2), "rpn_weight": (2, 3, 1, 1), "rfcn_bias": (4,)}
    values, new = start(wanted, pretrained, 0, DETECTION_LAYERS)
    assert list(values) == list(wanted) and values["conv_weight"] is pretrained["conv_weight"]
    np.testing.assert_array_equal(values["rpn_weight"], initial("rpn_weight", (2, 3, 1, 1), 0))
    assert new == ["rpn_weight", "rfcn_bias"]


def test_too_large_a_network_is_refused_before_allocation():
    wanted = {"conv_weight": (2**15, 2**14, 1, 1)}
    for refused in (lambda: start(wanted, {}, 0, DETECTION_LAYERS), lambda: from_scratch(wanted, 0)):
        with pytest.raises(InputError, match=f"a network of {2**29} weights, more than {2**28}"):
            refused()


def test_new_layers_start_as_the_method_says():
    wanted = {"rpn_weight": (2, 3, 1, 1), "em_weight": (2, 3, 1, 1), "em_bias": (3,), "gate_bias": (3,)}
    layers = {"rpn_": normal, "em_": he_normal, "gate_bias": lambda shape, rng: np.full(shape, -2.0)}
    values, new = start(wanted, {}, 0, layers)
    assert new == list(wanted)
    np.testing.assert_allclose(
        initial("em_weight", (2, 3, 1, 1), 0, {"em_": normal}) * np.sqrt(2 / 3) / 0.01, values["em_weight"], rtol=1e-6
    )
    np.testing.assert_array_equal(values["em_bias"], 0)  # not listed by its full name
    np.testing.assert_array_equal(values["gate_bias"], -2)
    assert all(value.dtype == np.float32 for value in values.values())


def test_only_new_layers_may_be_new():
    with pytest.raises(InputError, match=r"conv_weight \(2, 2\): the pretrained weights lack it; .*pretrained"):
        start({"conv_weight": (2, 2)}, {}, 0, DETECTION_LAYERS)
    with pytest.raises(InputError, match=r"have it as \(3, 2\)"):
        start({"conv_weight": (2, 2)}, {"conv_weight": np.ones((3, 2))}, 0, {})
