"""The frame baseline equals the published one: names, shapes, and figures at full size."""

from __future__ import annotations

import numpy as np
import pytest

from lib.backends.mxnet.loader import mx
from lib.backends.mxnet.runtime import Forward
from lib.config import make_config
from lib.inference.detect import batch_detections
from rfcn.network import test_symbol as build_test_symbol
from rfcn.network import train_symbol
from tests import recipe
from tests.golden import close, names_and_shapes, same_detections

INFO = np.float32([[144, 208, 1]])
INTERNALS = ("feat_conv_3x3_relu_output", "rpn_cls_score_output", "rpn_bbox_pred_output")


@pytest.mark.parametrize("operators", ["compiled", "builtin"])
@pytest.mark.parametrize("which, build", [("train", train_symbol), ("test", build_test_symbol)])
def test_names_and_shapes_are_those_of_the_manifest(manifests, which, build, operators):
    manifest = manifests[f"rfcn_{which}"]
    symbol = build(make_config({"network": {"OPERATORS": operators}}))
    found = names_and_shapes(symbol, {**manifest["inputs"], **manifest["labels"]})
    for part in ("params", "aux", "outputs"):
        assert found[part] == manifest[part], part
    assert found["argument_order"] == manifest["argument_order"]


@pytest.fixture(scope="module", params=["compiled", "builtin"])
def outputs(request, golden_weights):
    symbol = build_test_symbol(make_config({"network": {"OPERATORS": request.param}}))
    inner = symbol.get_internals()
    everything = mx.sym.Group([*symbol, *(inner[name] for name in INTERNALS)])
    forward = Forward(everything, mx.cpu(), *golden_weights)
    return forward(data=recipe.frames(144, 208, 1), im_info=INFO)


def test_features_and_rpn_are_golden(outputs, golden):
    features, scores, boxes = (outputs[name].asnumpy() for name in INTERNALS)
    close(features[:, ::48], golden["rfcn/feat_sub"], 1e-4)
    mean, std, magnitude, low, high = golden["rfcn/feat_stats"]
    found = features.mean(), features.std(), np.abs(features).mean(), features.min(), features.max()
    np.testing.assert_allclose(found, (mean, std, magnitude, low, high), rtol=1e-4)
    close(scores, golden["rfcn/rpn_cls_score"], 1e-4)
    close(boxes, golden["rfcn/rpn_bbox_pred_raw"], 1e-4)


def test_outputs_are_golden(outputs, golden):
    rois = outputs["rois_output"].asnumpy()
    assert rois.shape == (300, 5) and not rois[:, 0].any()
    assert np.abs(rois - golden["rfcn/rois"]).max() < 0.05  # pixels, in the same order
    close(outputs["cls_prob_reshape_output"], golden["rfcn/cls_prob"], 2e-4)
    close(outputs["bbox_pred_reshape_output"], golden["rfcn/bbox_pred"], 1e-3)


def test_detections_are_golden(outputs, golden):
    (found,) = batch_detections(outputs, INFO, make_config({}).TEST)
    same_detections(found, golden["rfcn/detections"])
