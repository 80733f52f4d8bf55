"""The backbone: names, sizes, and single steps by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lib.backends.base import Sgd
from lib.backends.mxnet.loader import mx
from lib.backends.mxnet.runtime import TrainStep
from lib.nets import params
from lib.nets.resnet import (
    Backbone,
    bottleneck,
    classifier,
    conv_bn,
    feature_map,
    is_backbone_layer,
    resnet,
    unit_names,
)
from tests.networks import run, shapes_of, symbol, variables

SMALL = Backbone(units=(1, 2, 2, 1), widths=(2, 3, 4, 5), strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), stem=6)


SIZES = [(32, 48, (2, 3)), (33, 47, (3, 3)), (562, 1000, (36, 63)), (1, 1, (1, 1))]


def out_shape(symbol, **inputs):
    return symbol.infer_shape(**inputs)[1][0]


def test_names_of_units():
    assert unit_names(2, 3) == ["2a", "2b", "2c"]
    assert unit_names(3, 4) == ["3a", "3b1", "3b2", "3b3"]
    assert unit_names(4, 1) == ["4a"]
    assert unit_names(5, 2) == ["5a", "5b"]


@pytest.mark.parametrize(
    "height, width, cells", [(32, 48, (2, 3)), (33, 47, (3, 3)), (562, 1000, (36, 63)), (1, 1, (1, 1))]
)
def test_sizes_round_up_to_whole_cells(height, width, cells):
    (data,) = variables("data")
    assert out_shape(symbol(resnet, data, SMALL), data=(2, 3, height, width)) == (2, 20, *cells)
    assert out_shape(symbol(feature_map, data, SMALL, 8, 3), data=(2, 3, height, width)) == (2, 8, *cells)


def test_the_stride_is_on_the_first_1x1():
    (data,) = variables("data")
    inner = symbol(bottleneck, data, "3a", 4, 2, 1, True, SMALL).get_internals()
    shapes = dict(zip(inner.list_outputs(), inner.infer_shape(data=(1, 8, 9, 9))[1]))
    assert shapes["res3a_branch2a_output"] == (1, 4, 5, 5) == shapes["res3a_branch2b_output"]
    assert shapes["res3a_branch1_output"] == (1, 16, 5, 5) == shapes["res3a_relu_output"]
    later = symbol(bottleneck, data, "3b1", 2, 1, 1, False, SMALL)
    assert "res3b1_branch1_weight" not in later.list_arguments()


def test_the_stride_may_be_on_the_3x3_instead():
    net = Backbone(stride_in_3x3=True)
    inner = symbol(bottleneck, *variables("data"), "3a", 4, 2, 1, True, net).get_internals()
    shapes = dict(zip(inner.list_outputs(), inner.infer_shape(data=(1, 8, 9, 9))[1]))
    assert shapes["res3a_branch2a_output"] == (1, 4, 9, 9) and shapes["res3a_branch2b_output"] == (1, 4, 5, 5)
    assert shapes["res3a_branch1_output"] == (1, 16, 5, 5)


def test_layers_of_the_backbone(manifests):
    names = manifests["fgfa_train"]["params"]
    found = set(filter(is_backbone_layer, names))
    assert found == set(manifests["rfcn_test"]["params"]) - {
        f"{layer}_{kind}"
        for layer in ("feat_conv_3x3", "rpn_cls_score", "rpn_bbox_pred", "rfcn_cls", "rfcn_bbox")
        for kind in ("weight", "bias")
    }


def test_convolution_and_batch_norm_by_hand():
    """1x1 convolution by 2, then (x - mean) / sqrt(variance + eps) * gamma + beta by the moving statistics."""
    layer = symbol(conv_bn, *variables("data"), "res9", 1, Backbone(eps=0.5))
    assert layer.list_arguments() == ["data", "res9_weight", "bn9_gamma", "bn9_beta"]
    args = {"res9_weight": np.float32([[[[2]]]]), "bn9_gamma": np.float32([3]), "bn9_beta": np.float32([1])}
    auxs = {"bn9_moving_mean": np.float32([4]), "bn9_moving_var": np.float32([3.5])}
    (out,) = run(layer, args, auxs, data=np.float32([[[[1, 2, 5]]]])).values()
    np.testing.assert_allclose(out.ravel(), (np.array([2, 4, 10]) - 4) / 2 * 3 + 1, rtol=1e-6)
    assert symbol(conv_bn, *variables("data"), "conv1", 1, Backbone()).list_arguments()[-1] == "bn_conv1_beta"


def test_a_classifier_learns_its_batch_and_its_statistics_move():
    net = Backbone((1, 1, 1, 1), (2, 2, 2, 2), (1, 2, 1, 1), (1, 1, 1, 1), 4, batch_statistics=True)
    losses = symbol(classifier, net, 3)
    rng = np.random.default_rng(0)
    batch = {"data": rng.normal(size=(6, 3, 24, 24)).astype(np.float32), "label": np.float32([0, 1, 2, 0, 1, 2])}
    args, auxs = (
        {name: params.initial(name, shape, 0) for name, shape in part.items()}
        for part in shapes_of(losses, data=(6, 3, 24, 24), label=(6,))
    )
    step = TrainStep(losses, [mx.cpu()], args, auxs, set(args), Sgd(momentum=0.9))
    errors = []
    for _ in range(40):
        (outputs,) = step.step([batch], 0.02)
        prob = outputs["softmax"]
        np.testing.assert_allclose(prob.sum(axis=1), 1, rtol=1e-5)
        errors.append(-np.log(prob[np.arange(6), batch["label"].astype(int)]).mean())
    assert errors[0] == pytest.approx(np.log(3), rel=0.1) and errors[-1] < 0.5 * errors[0]
    assert not np.allclose(step.params()[1]["bn_conv1_moving_mean"], 0)
