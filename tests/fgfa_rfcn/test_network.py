"""FGFA has the names and shapes of the published one; `tests/backends/test_golden.py` has its figures."""

from __future__ import annotations

import pytest

from fgfa_rfcn import network
from fgfa_rfcn.method import METHOD
from lib.config import make_config
from lib.training.train import trainable
from tests.golden import names_and_shapes
from tests.networks import BUILTIN, COMPILED, symbol

OPERATORS = (COMPILED, BUILTIN)


def settings(reach=2):
    return make_config({"TEST": {"KEY_FRAME_INTERVAL": reach}}, METHOD.schema)


@pytest.mark.parametrize("operators", OPERATORS)
def test_training_names_and_shapes_are_those_of_the_manifest(manifests, operators):
    manifest = manifests["fgfa_train"]
    found = names_and_shapes(
        symbol(network.losses, settings(), F=operators), {**manifest["inputs"], **manifest["labels"]}
    )
    for part in ("params", "aux", "outputs"):
        assert found[part] == manifest[part], part
    assert found["argument_order"] == manifest["argument_order"]


@pytest.mark.parametrize("operators", OPERATORS)
def test_feature_names_and_shapes_are_those_of_the_manifest(manifests, operators):
    """The published network passes im_info, data_cache and feat_cache through, unused; ours leaves them out."""
    manifest = manifests["fgfa_feat"]
    passed_through = {"im_info", "data_cache", "feat_cache"}
    found = names_and_shapes(symbol(network.features, settings(9), F=operators), {"data": manifest["inputs"]["data"]})
    assert found["params"] == manifest["params"] and found["aux"] == manifest["aux"]
    assert found["argument_order"] == [name for name in manifest["argument_order"] if name not in passed_through]
    shape = manifest["outputs"]["conv_embed_output"]
    # channels last for the fused operator
    in_ring = (shape[0], *shape[2:], shape[1]) if operators.fused else shape
    assert found["outputs"] == {"conv_embed_output": in_ring}


@pytest.mark.parametrize("operators", OPERATORS)
def test_detection_names_and_shapes_are_those_of_the_manifest(manifests, operators):
    """The published network passes data through; ours does not, and has one more input, `order`, because its caches
    are a ring. feat_cache has its channels last for the compiled operators.
    """
    manifest = manifests["fgfa_aggr"]
    inputs = {**manifest["inputs"], "order": (1, 19)}
    if operators.fused:
        slots, channels, height, width = inputs["feat_cache"]
        inputs["feat_cache"] = (slots, height, width, channels)
    found = names_and_shapes(symbol(network.test, settings(9), F=operators), inputs)
    assert found["params"] == manifest["params"] and found["aux"] == manifest["aux"] == {}
    assert found["outputs"] == {name: shape for name, shape in manifest["outputs"].items() if name != "data"}
    assert set(found["argument_order"]) == {*manifest["argument_order"], "order"}


@pytest.mark.parametrize("network", ["fgfa_train", "rfcn_train"])
def test_frozen_parameters_are_those_of_the_manifest(manifests, network):
    manifest = manifests[network]
    frozen = set(manifest["params"]) - trainable(manifest["params"], manifest["fixed"])
    assert frozen == set(manifest["frozen"])
