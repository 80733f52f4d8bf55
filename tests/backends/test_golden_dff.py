"""Every backend computes the figures of published Deep Feature Flow, at 144x208 with the recipe's weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dff_rfcn.network as dff
import rfcn.network as rfcn
from lib.backends.base import Sgd
from lib.config import make_config
from lib.inference.detect import batch_detections
from lib.methods import METHODS
from lib.nets import sizes
from lib.nets.flownet import for_convolutions, image, is_flow_layer
from lib.training.metrics import detection_metrics
from tests import recipe
from tests.conftest import DATA
from tests.golden import close, same_detections

INFO = np.float32([[144, 208, 1]])
CFG = make_config({"TEST": {"KEY_FRAME_INTERVAL": 4}}, METHODS["dff_rfcn"].schema)


@pytest.fixture(scope="module")
def figures():
    with np.load(DATA / "dff.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def weights(manifests, golden_weights):
    """(args, auxs) of the recipe: those of FGFA without the embedding, and the layer of the scale map."""
    args, auxs = golden_weights
    wanted = manifests["dff_train"]["params"]
    return {name: args[name] if name in args else recipe.weights(name, wanted[name]) for name in wanted}, auxs


@pytest.fixture(scope="module")
def run(backend, weights):
    """run(build, **inputs): outputs of a network on the CPU."""
    (device,) = backend.devices("")

    def outputs(build, args=weights[0], **inputs):
        found = backend.network(build, device, args, weights[1])(**inputs)
        return {name: np.asarray(value) for name, value in found.items()}

    return outputs


@pytest.fixture(scope="module")
def frames():
    """Frame 0, the key frame, and the three after it."""
    return recipe.frames(144, 208, 4)


@pytest.fixture(scope="module")
def key(run, frames):
    """Features and detections of the key frame."""
    return run(lambda F: dff.key_test(F, CFG), data=frames[:1], im_info=INFO)


def inside(F):
    motion, scale = dff.flow_to_key(F, F.Variable("data"), F.Variable("data_key"), CFG)
    return {
        "flow": F.identity(motion, name="flow"),
        "scale": F.identity(scale, name="scale"),
        "warped": F.identity(F.warp(F.Variable("feat_key"), motion), name="warped"),
    }


def matches(outputs, figures):
    """Fails unless these are the detections of frame 3."""
    assert np.abs(outputs["rois"][:, 1:] - figures["A/dff_cur/rois"][:, 1:]).max() < 0.05  # pixels, in the same order
    close(outputs["cls_prob_reshape"], figures["A/dff_cur/cls_prob"], 2e-4)
    close(outputs["bbox_pred_reshape"], figures["A/dff_cur/bbox_pred"], 1e-3)
    (found,) = batch_detections(outputs, INFO, CFG.TEST)
    same_detections(found, figures["A/dff_cur/detections"])


def test_a_key_frame_is_detected_as_by_rfcn(key, golden):
    """The published weights of both networks have the same names, and those of the recipe depend only on them."""
    close(key["feat_conv_3x3_relu"][:, ::48], golden["rfcn/feat_sub"], 1e-4)
    close(key["cls_prob_reshape"], golden["rfcn/cls_prob"], 2e-4)


def test_flow_scale_map_and_warped_features(run, key, frames, figures):
    found = run(inside, data=frames[3:], data_key=frames[:1], feat_key=key["feat_conv_3x3_relu"])
    close(found["flow"], figures["A/dff_cur/flow"], 1e-4)
    close(found["scale"][:, ::48], figures["A/dff_cur/scale_sub"], 1e-4)
    close(found["warped"][:, ::48], figures["A/dff_cur/warped_sub"], 1e-4)


def test_detections_of_another_frame(run, key, frames, figures):
    outputs = run(
        lambda F: dff.current_test(F, CFG),
        feat_key=key["feat_conv_3x3_relu"],
        data_key=frames[:1],
        data=frames[3:],
        im_info=INFO,
    )
    matches(outputs, figures)


def test_detections_of_a_key_frame_and_the_frames_up_to_the_next(run, key, frames, figures):
    infos = np.repeat(INFO, 4, axis=0)
    outputs = run(lambda F: dff.batch_test(F, CFG), data_key=frames[:1], data_other=frames[1:], im_info=infos)
    outputs["rois"] = outputs["rois"].reshape(4, 300, 5)
    first, *_, last = ({name: value[number : number + 1] for name, value in outputs.items()} for number in range(4))
    matches({**last, "rois": last["rois"][0]}, figures)
    close(first["cls_prob_reshape"], key["cls_prob_reshape"], 2e-4)


def test_the_networks_of_the_detector_compute_the_same(run, weights, key, frames, figures):
    """The flow network of prepared images, deconvolutions replaced by convolutions, and what follows it."""
    images = run(lambda F: image(F, sizes.flownet(CFG)), data=frames)["image"]
    slots = np.zeros(1, np.float32)
    args = for_convolutions(weights[0])
    motion = run(lambda F: dff.flow(F, CFG), args, current=images[3:], image_key=images[:1], key=slots)
    close(motion["flow"], figures["A/dff_cur/flow"], 1e-4)
    close(motion["scale"][:, ::48], figures["A/dff_cur/scale_sub"], 1e-4)
    features = key["feat_conv_3x3_relu"]
    matches(run(lambda F: dff.propagation(F, CFG), feat_key=features, key=slots, im_info=INFO, **motion), figures)


# Training


@pytest.fixture(scope="module")
def batch(figures):
    data_ref, data, _ = np.split(recipe.frames(144, 208, 3, "train"), 3)
    label = figures["train/input/label"].astype(np.float32)
    positive = (label == 1).reshape(1, 9, 9, 13)  # anchor, row, column
    weight = np.repeat(positive, 4, axis=1).astype(np.float32)
    assert weight.sum() == figures["train/input/bbox_weight_check"]
    return {
        "data": data,
        "data_ref": data_ref,
        "eq_flag": np.float32([0]),
        "label": label,
        "bbox_weight": weight,
        **{name: figures[f"train/input/{name}"] for name in ("im_info", "gt_boxes", "bbox_target")},
    }


@pytest.fixture(scope="module")
def step(backend, weights):
    """A training step at learning rate 0 with every parameter trainable."""
    args, auxs = weights
    return backend.trainer(lambda F: dff.losses(F, CFG), backend.devices(""), args, auxs, args, Sgd())


def test_training_outputs_and_losses(step, batch, figures):
    (outputs,) = step.step([batch], 0.0)
    for name in ("rpn_cls_prob", "rpn_bbox_loss"):
        close(outputs[name], figures[f"train/dff/{name}"], 1e-4)
    for name in ("cls_prob", "bbox_loss"):
        close(outputs[f"{name}_reshape"], figures[f"train/dff/{name}"], 1e-4)
    np.testing.assert_array_equal(outputs["blockgrad0"], figures["train/dff/rcnn_label"])
    losses = json.loads((DATA / "dff.json").read_text())["losses"]
    metrics = detection_metrics(outputs, batch)
    assert len(metrics) == 6
    for name, (total, count) in metrics.items():
        assert total / count == pytest.approx(losses[name], rel=1e-4), name
    flow = [np.abs(value).max() for name, value in step.gradients().items() if name.startswith("Convolution5")]
    assert len(flow) == 4 and min(flow) > 0


def test_the_same_frame_is_trained_on_as_by_rfcn(backend, step, weights, batch):
    """With eq_flag 1, the features of the key frame are used as they are, and the flow network learns nothing."""
    args, auxs = weights
    own = backend.trainer(lambda F: rfcn.losses(F, CFG), backend.devices(""), args, auxs, ["rfcn_cls_weight"], Sgd())
    others = {name: value for name, value in batch.items() if name not in ("data_ref", "eq_flag")}
    (expected,) = own.step([{**others, "data": batch["data_ref"]}], 0.0)
    (outputs,) = step.step([{**batch, "eq_flag": np.float32([1])}], 0.0)
    for name in ("rpn_cls_prob", "cls_prob_reshape", "bbox_loss_reshape"):
        close(outputs[name], expected[name], 1e-5)
    gradients = step.gradients()
    close(gradients["rfcn_cls_weight"], own.gradients()["rfcn_cls_weight"], 1e-4)
    for name, value in gradients.items():
        if is_flow_layer(name):
            assert not value.any(), name
