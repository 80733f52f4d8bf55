"""Deep Feature Flow has the published names and shapes; `tests/backends/test_golden_dff.py` has its figures."""

from __future__ import annotations

import numpy as np
import pytest

from dff_rfcn import network
from dff_rfcn.method import METHOD
from lib.backends.choice import backend_of
from lib.config import load_config, make_config
from lib.inference.detector import parameter_shapes
from lib.nets import params
from lib.training.train import optimizer, trainable
from tests.golden import names_and_shapes
from tests.networks import BUILTIN, COMPILED, symbol
from tests.tiny import ROOT

CFG = make_config({}, METHOD.schema)
OPERATORS = pytest.mark.parametrize("operators", [COMPILED, BUILTIN])


@OPERATORS
def test_training_names_and_shapes_are_those_of_the_manifest(manifests, operators):
    manifest = manifests["dff_train"]
    found = names_and_shapes(symbol(network.losses, CFG, F=operators), {**manifest["inputs"], **manifest["labels"]})
    for part in ("params", "aux", "outputs"):
        assert found[part] == manifest[part], part
    assert found["argument_order"] == manifest["argument_order"]


@OPERATORS
@pytest.mark.parametrize("which, build", [
    ("key", network.key_test), ("cur", network.current_test), ("batch", network.batch_test)
])  # fmt: skip
def test_names_and_shapes_of_testing_are_those_of_the_manifest(manifests, which, build, operators):
    """The published network of key frames passes two inputs through, unused; ours leaves them out. The published
    network of several frames joins the rois of all of them; ours keeps them apart.
    """
    manifest = manifests[f"dff_{which}"]
    passed_through = {"data_key", "feat_key"} if which == "key" else set()
    inputs = {name: shape for name, shape in manifest["inputs"].items() if name not in passed_through}
    found = names_and_shapes(symbol(build, CFG, F=operators), inputs)
    assert found["params"] == manifest["params"] and found["aux"] == manifest["aux"]
    joined = {
        name: (1, shape[0] * shape[1], shape[2]) if "reshape" in name else shape
        for name, shape in found["outputs"].items()
    }
    assert joined == {name: shape for name, shape in manifest["outputs"].items() if name not in passed_through}
    assert found["argument_order"] == [name for name in manifest["argument_order"] if name not in passed_through]


def test_frozen_parameters_are_those_of_the_manifest(manifests):
    manifest = manifests["dff_train"]
    cfg = load_config(ROOT / METHOD.published.cfg, schema=METHOD.schema)
    assert cfg.network.FIXED_PARAMS == manifest["fixed"]
    frozen = set(manifest["params"]) - trainable(manifest["params"], manifest["fixed"])
    assert frozen == set(manifest["frozen"])


def test_published_weights_have_the_parameters_of_the_detector(manifests):
    """The file has those of training and, of rfcn_bbox, those with the normalisation folded in."""
    manifest = manifests["dff_train"]
    given = {name: np.broadcast_to(np.float32(0), shape) for name, shape in manifest["params"].items()}
    for name in ("rfcn_bbox_weight", "rfcn_bbox_bias"):
        given[f"{name}_test"] = given[name]
    given.update({name: np.broadcast_to(np.float32(0), shape) for name, shape in manifest["aux"].items()})
    args, auxs = parameter_shapes(METHOD.parts(CFG), backend_of(CFG))
    params.check(params.for_test(given), {**args, **auxs}, "published")


def test_the_scale_map_starts_as_ones_and_its_bias_stays(manifests):
    names = ("Convolution5_scale_weight", "Convolution5_scale_bias")
    wanted = {name: manifests["dff_train"]["params"][name] for name in names}
    values, new = params.start(wanted, {}, 0, METHOD.new_layers)
    assert new == list(names)
    assert not values[names[0]].any() and (values[names[1]] == 1).all()
    rules = optimizer(make_config({"TRAIN": {"FLOW_LR_FACTOR": 0.5}}, METHOD.schema), METHOD.lr_factors)
    factors = [rules.lr_factor(name) for name in (*names, "Convolution5_bias", "rfcn_cls_bias")]
    assert factors == [1, 0, 0.5, 1]
