"""Every backend computes the figures of the published networks, at 144x208 with the recipe's weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fgfa_rfcn.network as fgfa
import rfcn.network as rfcn
from lib.backends.base import Sgd
from lib.config import make_config
from lib.inference.detect import batch_detections
from lib.methods import METHODS
from lib.nets import sizes
from lib.nets.aggregation import aggregate, cosine
from lib.nets.detection import detections
from lib.nets.flownet import flow
from lib.nets.rpn import rpn
from lib.training.metrics import detection_metrics
from tests import recipe
from tests.conftest import DATA
from tests.golden import close, same_detections

INFO = np.float32([[144, 208, 1]])
ORDER = np.arange(5, dtype=np.float32)
RFCN = make_config({}, METHODS["rfcn"].schema)
FGFA = make_config({"TEST": {"KEY_FRAME_INTERVAL": 2}}, METHODS["fgfa_rfcn"].schema)


@pytest.fixture(scope="module")
def run(backend, golden_weights):
    """run(build, **inputs): outputs of a network on the CPU."""
    (device,) = backend.devices("")

    def outputs(build, **inputs):
        found = backend.network(build, device, *golden_weights)(**inputs)
        return {name: np.asarray(value) for name, value in found.items()}

    return outputs


@pytest.mark.parametrize("method", METHODS)
def test_parameters_are_those_of_the_manifest(backend, manifests, method):
    manifest = manifests[f"{method.split('_')[0]}_train"]
    inputs = {**manifest["inputs"], **manifest["labels"]}
    cfg = make_config({}, METHODS[method].schema)
    args, auxs = backend.shapes(lambda F: METHODS[method].losses(F, cfg), **inputs)
    assert args == manifest["params"] and auxs == manifest["aux"]


# R-FCN


def rpn_maps(F):
    half = F.slice_axis(F.Variable("features"), 1, 0, RFCN.network.FEAT_DIM // 2)
    return dict(zip(("rpn_cls_score", "rpn_bbox_pred"), rpn(F, half, RFCN.network.NUM_ANCHORS)))


@pytest.fixture(scope="module")
def frame(run):
    """Features, RPN and detections of a frame by R-FCN."""
    data = recipe.frames(144, 208, 1)
    features = run(lambda F: rfcn.features(F, RFCN), data=data)
    return {
        **features,
        **run(rpn_maps, **features),
        **run(lambda F: rfcn.test(F, RFCN), data=data, im_info=INFO),
    }


def test_features_and_rpn_of_a_frame(frame, golden):
    features = frame["features"]
    close(features[:, ::48], golden["rfcn/feat_sub"], 1e-4)
    mean, std, magnitude, low, high = golden["rfcn/feat_stats"]
    found = features.mean(), features.std(), np.abs(features).mean(), features.min(), features.max()
    np.testing.assert_allclose(found, (mean, std, magnitude, low, high), rtol=1e-4)
    close(frame["rpn_cls_score"], golden["rfcn/rpn_cls_score"], 1e-4)
    close(frame["rpn_bbox_pred"], golden["rfcn/rpn_bbox_pred_raw"], 1e-4)


def test_detections_of_a_frame(frame, golden):
    rois = frame["rois"]
    assert rois.shape == (300, 5) and not rois[:, 0].any()
    assert np.abs(rois - golden["rfcn/rois"]).max() < 0.05  # pixels, in the same order
    close(frame["cls_prob_reshape"], golden["rfcn/cls_prob"], 2e-4)
    close(frame["bbox_pred_reshape"], golden["rfcn/bbox_pred"], 1e-3)
    (found,) = batch_detections(frame, INFO, RFCN.TEST)
    same_detections(found, golden["rfcn/detections"])


# FGFA


@pytest.fixture(scope="module")
def frames():
    return recipe.frames(144, 208, 5)


@pytest.fixture(scope="module")
def ring(run, frames):
    """Features and embedding of the five frames, in the backend's layout."""
    return run(lambda F: fgfa.features(F, FGFA), data=frames)["conv_embed"]


@pytest.fixture(scope="module")
def maps(ring):
    """The same as (5, 3072, h, w)."""
    return ring if ring.shape[1] == 3072 else ring.transpose(0, 3, 1, 2)


def aggregated(F):
    """Aggregation of a window, with the weights, and everything after it."""
    found, weights = aggregate(
        F,
        *(F.Variable(name) for name in ("ring", "flow", "order")),
        feature_channels=FGFA.network.FEAT_DIM,
        current=2,
        name="window",
        with_weights=True,
    )
    return {
        "aggregated": F.identity(found, name="aggregated"),
        "weights": F.identity(weights, name="weights"),
        **detections(F, found, FGFA),
    }


def compared(F):
    """Warped features and embeddings, and the cosine of each frame to the third."""
    warped = F.warp(F.Variable("maps"), F.Variable("flow"))
    embeddings = F.slice_axis(warped, 1, FGFA.network.FEAT_DIM, None)
    similarity = cosine(F, embeddings, F.slice_axis(embeddings, 0, 2, 3))
    return {"warped": F.identity(warped, name="warped"), "cosine": F.identity(similarity, name="cosine")}


def motion(F):
    found = flow(F, F.Variable("current"), F.Variable("other"), sizes.flownet(FGFA))
    return {"flow": F.identity(found, name="flow")}


def test_features_of_a_window(maps, golden):
    close(maps[:, ::48], golden["fgfa/feat_sub"], 1e-4)
    close(maps.mean(axis=(2, 3)), golden["fgfa/feat_channel_mean"], 1e-4)


def test_flow_of_a_window(run, frames, golden):
    close(run(motion, current=frames[[2] * 5], other=frames)["flow"], golden["fgfa/flow"], 1e-4)


def test_warp_and_cosine(run, maps, golden):
    outputs = run(compared, maps=maps, flow=golden["fgfa/flow"])
    close(outputs["warped"][:, ::48], golden["fgfa/warped_sub"], 1e-4)
    close(outputs["cosine"], golden["fgfa/cosine"], 1e-4)


def test_aggregation_and_its_weights(run, ring, golden):
    outputs = run(aggregated, ring=ring, flow=golden["fgfa/flow"], order=ORDER, im_info=INFO)
    close(outputs["aggregated"][:, ::16], golden["fgfa/aggregated_sub"], 1e-4)
    close(outputs["weights"], golden["fgfa/weights"], 1e-4)
    found = run(rpn_maps, features=outputs["aggregated"])
    close(found["rpn_cls_score"], golden["fgfa/rpn_cls_score"], 1e-4)
    close(found["rpn_bbox_pred"], golden["fgfa/rpn_bbox_pred_raw"], 1e-4)


def test_detections_of_a_window(run, frames, ring, golden):
    """The published test network, flow and all."""
    outputs = run(
        lambda F: fgfa.test(F, FGFA),
        data=frames[2:3],
        im_info=INFO,
        order=ORDER[None],
        data_cache=frames,
        feat_cache=ring,
    )
    assert np.abs(outputs["rois"] - golden["fgfa/rois"]).max() < 0.05  # pixels, in the same order
    close(outputs["cls_prob_reshape"], golden["fgfa/cls_prob"], 2e-4)
    close(outputs["bbox_pred_reshape"], golden["fgfa/bbox_pred"], 1e-3)
    (found,) = batch_detections(outputs, INFO, FGFA.TEST)
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
def trained(backend, golden_weights, batch):
    """A step at learning rate 0 with every parameter trainable -> (the step, its outputs)."""
    args, auxs = golden_weights
    step = backend.trainer(lambda F: fgfa.losses(F, FGFA), backend.devices(""), args, auxs, args, Sgd())
    (outputs,) = step.step([batch], 0.0)
    return step, outputs


def test_training_outputs_and_losses(trained, batch, step_of):
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


def test_gradients(trained, golden):
    step, _ = trained
    gradients = step.gradients()
    expected = json.loads((DATA / "network.json").read_text())["gradients"]
    assert gradients.keys() == expected.keys() and len(expected) == 374
    for name, entry in expected.items():
        norm = np.linalg.norm(gradients[name].astype(np.float64))
        assert abs(norm / entry["l2"] - 1) <= 3e-3, f"{name}: l2 {norm}, not {entry['l2']}"
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
