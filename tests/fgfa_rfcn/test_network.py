"""FGFA equals the published one: names, shapes, and figures at full size."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fgfa_rfcn import network
from fgfa_rfcn.method import METHOD
from lib.backends.base import Sgd
from lib.backends.mxnet.backend import MXNet
from lib.backends.mxnet.loader import mx
from lib.config import make_config
from lib.inference.detect import batch_detections
from lib.nets.aggregation import cosine
from lib.training.metrics import detection_metrics
from lib.training.train import trainable
from tests import recipe
from tests.conftest import DATA
from tests.golden import close, names_and_shapes, same_detections
from tests.networks import BUILTIN, COMPILED, EAGER, run, symbol, variables

INFO = np.float32([[144, 208, 1]])
ORDER = np.arange(5, dtype=np.float32)
OPERATORS = (COMPILED, BUILTIN)


def settings(reach=2):
    return make_config({"TEST": {"KEY_FRAME_INTERVAL": reach}}, METHOD.schema)


# Names and shapes


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


# Inference


@pytest.fixture(scope="module")
def frames():
    return recipe.frames(144, 208, 5)


@pytest.fixture(scope="module")
def ring(golden_weights, frames):
    """Features and embedding of the five frames, (5, h, w, 3072)."""
    return run(symbol(network.features, settings()), *golden_weights, data=frames)["conv_embed"]


@pytest.fixture(scope="module", params=OPERATORS)
def outputs(request, golden_weights, frames, ring):
    """Outputs of the detection network and what is inside."""
    whole = symbol(network.test, settings(), F=request.param)
    inner = whole.get_internals()
    names = ("rpn_cls_score_output", "rpn_bbox_pred_output", "aggregated0_output", "Convolution5_output")
    everything = mx.sym.Group([*whole, *(inner[name] for name in names)])
    features = ring if request.param.fused else ring.transpose(0, 3, 1, 2)
    inputs = {"data": frames[2:3], "im_info": INFO, "order": ORDER[None], "data_cache": frames, "feat_cache": features}
    return run(everything, golden_weights[0], **inputs)


def test_features_are_golden(ring, golden):
    close(ring[..., ::48].transpose(0, 3, 1, 2), golden["fgfa/feat_sub"], 1e-4)
    close(ring.mean(axis=(1, 2)), golden["fgfa/feat_channel_mean"], 1e-4)


def test_flow_and_aggregated_features_are_golden(outputs, golden):
    close(2.5 * outputs["Convolution5"], golden["fgfa/flow"], 1e-4)
    close(outputs["aggregated0"][:, ::16], golden["fgfa/aggregated_sub"], 1e-4)


def test_warp_cosine_and_weights_are_golden(ring, golden):
    features = mx.nd.array(ring.transpose(0, 3, 1, 2))
    flow = mx.nd.array(golden["fgfa/flow"])
    warped = EAGER.warp(features, flow)
    close(warped[:, ::48], golden["fgfa/warped_sub"], 1e-4)
    embeddings = warped[:, 1024:].asnumpy()
    graph = symbol(cosine, *variables("embeddings", "reference"))
    (found,) = run(graph, embeddings=embeddings, reference=embeddings[2:3]).values()
    close(found, golden["fgfa/cosine"], 1e-4)
    _, weights = EAGER.aggregate(
        mx.nd.array(ring), flow, mx.nd.array(ORDER), feature_channels=1024, current=2, with_weights=True
    )
    close(weights, golden["fgfa/weights"], 1e-4)


def test_outputs_are_golden(outputs, golden):
    close(outputs["rpn_cls_score"], golden["fgfa/rpn_cls_score"], 1e-4)
    close(outputs["rpn_bbox_pred"], golden["fgfa/rpn_bbox_pred_raw"], 1e-4)
    rois = outputs["rois"]
    assert np.abs(rois - golden["fgfa/rois"]).max() < 0.05  # pixels, in the same order
    close(outputs["cls_prob_reshape"], golden["fgfa/cls_prob"], 2e-4)
    close(outputs["bbox_pred_reshape"], golden["fgfa/bbox_pred"], 1e-3)


def test_detections_are_golden(outputs, golden):
    (found,) = batch_detections(outputs, INFO, settings().TEST)
    same_detections(found, golden["fgfa/detections"])


# Training


@pytest.fixture(scope="module")
def step_of():
    with np.load(DATA / "training_step.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def batch(step_of):
    before, data, after = np.split(recipe.frames(144, 208, 3, "train"), 3)
    label = step_of["input_label"].astype(np.float32)
    positive = (label == 1).reshape(1, 9, 9, 13)  # anchor, row, column
    return {
        "data": data,
        "data_bef": before,
        "data_aft": after,
        "label": label,
        "bbox_weight": np.repeat(positive, 4, axis=1).astype(np.float32),
        **{name: step_of[f"input_{name}"] for name in ("im_info", "gt_boxes", "bbox_target")},
    }


@pytest.fixture(scope="module")
def trained(golden_weights, batch):
    """A step at learning rate 0 with every parameter trainable -> (the step, its outputs)."""
    args, auxs = golden_weights
    backend, cfg = MXNet(), settings()
    step = backend.trainer(lambda F: network.losses(F, cfg), backend.devices(""), args, auxs, args, Sgd())
    (outputs,) = step.step([batch], 0.0)
    return step, outputs


def test_training_outputs_and_losses_are_golden(trained, batch, step_of):
    _, outputs = trained
    for name in ("rpn_cls_prob", "rpn_bbox_loss"):
        close(outputs[name], step_of[name], 1e-4)
    for name in ("cls_prob", "bbox_loss"):
        close(outputs[f"{name}_reshape"], step_of[name], 1e-4)
    np.testing.assert_array_equal(outputs["blockgrad0"], step_of["rcnn_label"])
    losses = json.loads((DATA / "network.json").read_text())["losses"]
    metrics = detection_metrics(outputs, batch)
    assert len(metrics) == 6
    for name, (total, count) in metrics.items():
        assert total / count == pytest.approx(losses[name], rel=1e-4), name


def test_gradients_are_golden(trained, golden):
    step, _ = trained
    gradients = step.gradients()
    expected = json.loads((DATA / "network.json").read_text())["gradients"]
    assert gradients.keys() == expected.keys() and len(expected) == 374
    off = {}
    for name, entry in expected.items():
        norm = np.linalg.norm(gradients[name].astype(np.float64))
        off[name] = abs(norm / entry["l2"] - 1)
        assert off[name] <= 3e-3, f"{name}: l2 {norm}, not {entry['l2']}"
    samples = {name[len("grad/") :]: value for name, value in golden.items() if name.startswith("grad/")}
    assert len(samples) == 34
    for name, sample in samples.items():
        flat = gradients[name].ravel()
        places = np.linspace(0, flat.size - 1, min(96, flat.size)).astype(int)
        assert np.abs(flat[places] - sample).max() <= 3e-3 * np.abs(flat).max(), name


def test_a_rate_of_zero_changes_nothing_and_statistics_never_move(trained, golden_weights):
    step, _ = trained
    for found, given in zip(step.params(), golden_weights):
        for name in ("conv1_weight", "rfcn_bbox_bias", "bn_conv1_moving_mean", "bn5c_branch2c_moving_var"):
            if name in given:
                np.testing.assert_array_equal(found[name], given[name])


@pytest.mark.parametrize("network", ["fgfa_train", "rfcn_train"])
def test_frozen_parameters_are_those_of_the_manifest(manifests, network):
    manifest = manifests[network]
    frozen = set(manifest["params"]) - trainable(manifest["params"], manifest["fixed"])
    assert frozen == set(manifest["frozen"])
