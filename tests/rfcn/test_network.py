"""The frame baseline equals the published one: names, shapes, and figures at full size."""

from __future__ import annotations

import numpy as np
import pytest

from lib.backends.mxnet.loader import mx
from lib.config import make_config
from lib.inference.detect import batch_detections
from rfcn import network
from tests import recipe
from tests.golden import close, names_and_shapes, same_detections
from tests.networks import BUILTIN, COMPILED, run, symbol

INFO = np.float32([[144, 208, 1]])
INTERNALS = ("feat_conv_3x3_relu", "rpn_cls_score", "rpn_bbox_pred")
OPERATORS = [COMPILED, BUILTIN]


@pytest.mark.parametrize("operators", OPERATORS)
@pytest.mark.parametrize("which, build", [("train", network.losses), ("test", network.test)])
def test_names_and_shapes_are_those_of_the_manifest(manifests, which, build, operators):
    manifest = manifests[f"rfcn_{which}"]
    found = names_and_shapes(symbol(build, make_config({}), F=operators), {**manifest["inputs"], **manifest["labels"]})
    for part in ("params", "aux", "outputs"):
        assert found[part] == manifest[part], part
    assert found["argument_order"] == manifest["argument_order"]


@pytest.fixture(scope="module", params=OPERATORS)
def outputs(request, golden_weights):
    whole = symbol(network.test, make_config({}), F=request.param)
    inner = whole.get_internals()
    everything = mx.sym.Group([*whole, *(inner[f"{name}_output"] for name in INTERNALS)])
    return run(everything, *golden_weights, data=recipe.frames(144, 208, 1), im_info=INFO)


def test_features_and_rpn_are_golden(outputs, golden):
    features, scores, boxes = (outputs[name] for name in INTERNALS)
    close(features[:, ::48], golden["rfcn/feat_sub"], 1e-4)
    mean, std, magnitude, low, high = golden["rfcn/feat_stats"]
    found = features.mean(), features.std(), np.abs(features).mean(), features.min(), features.max()
    np.testing.assert_allclose(found, (mean, std, magnitude, low, high), rtol=1e-4)
    close(scores, golden["rfcn/rpn_cls_score"], 1e-4)
    close(boxes, golden["rfcn/rpn_bbox_pred_raw"], 1e-4)


def test_outputs_are_golden(outputs, golden):
    rois = outputs["rois"]
    assert rois.shape == (300, 5) and not rois[:, 0].any()
    assert np.abs(rois - golden["rfcn/rois"]).max() < 0.05  # pixels, in the same order
    close(outputs["cls_prob_reshape"], golden["rfcn/cls_prob"], 2e-4)
    close(outputs["bbox_pred_reshape"], golden["rfcn/bbox_pred"], 1e-3)


def test_detections_are_golden(outputs, golden):
    (found,) = batch_detections(outputs, INFO, make_config({}).TEST)
    same_detections(found, golden["rfcn/detections"])
