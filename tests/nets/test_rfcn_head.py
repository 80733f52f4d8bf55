"""The head's losses and outputs by hand, and the embedding's shape."""

from __future__ import annotations

import numpy as np
import pytest

from lib.backends.mxnet.loader import mx
from lib.nets.aggregation import embedding
from lib.nets.rfcn_head import head_losses, head_outputs, rfcn_head
from tests.networks import BUILTIN, COMPILED, run, symbol, variables


@pytest.mark.parametrize("F", [COMPILED, BUILTIN])
def test_constant_maps_give_their_value_to_every_roi(F):
    head = symbol(rfcn_head, *variables("x", "rois"), 3, 2, 2, 8, F=F)
    args, outputs, _ = head.infer_shape(x=(2, 5, 6, 6), rois=(4, 5))
    assert outputs == [(4, 3), (4, 8)]
    shapes = dict(zip(head.list_arguments(), args))
    assert shapes["rfcn_cls_weight"] == (12, 5, 1, 1) and shapes["rfcn_bbox_weight"] == (32, 5, 1, 1)
    values = {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if name.startswith("rfcn")}
    values["rfcn_cls_bias"] = np.repeat(np.float32([1, 2, 3]), 4)  # channel = class * 4 bins + bin
    values["rfcn_bbox_bias"] = np.tile(np.float32([0, 1, 2, 3]), 8)  # the mean over the bins is 1.5
    rois = np.float32([[0, 0, 0, 47, 47], [1, 8, 8, 31, 31], [0, 0, 0, 15, 15], [1, 16, 0, 47, 31]])
    scores, boxes = run(head, values, x=np.ones((2, 5, 6, 6), np.float32), rois=rois).values()
    np.testing.assert_allclose(scores, np.tile([1, 2, 3], (4, 1)), rtol=1e-6)
    np.testing.assert_allclose(boxes, 1.5, rtol=1e-6)


def test_losses_by_hand():
    names = ("cls_score", "bbox_pred", "label", "bbox_target", "bbox_weight")
    losses = symbol(head_losses, *variables(*names), images=1, batch_size=4)
    assert losses.list_outputs() == ["cls_prob_reshape_output", "bbox_loss_reshape_output", "blockgrad0_output"]
    shapes = {"cls_score": (3, 2), "bbox_pred": (3, 8), "label": (3,), "bbox_target": (3, 8), "bbox_weight": (3, 8)}
    grad_req = {name: "write" if name in names[:2] else "null" for name in names}
    executor = losses.simple_bind(mx.cpu(), grad_req=grad_req, **shapes)
    for array in executor.arg_dict.values():
        array[:] = 0
    executor.arg_dict["label"][:] = np.float32([1, -1, 0])
    executor.arg_dict["bbox_target"][0, 4] = 3
    executor.arg_dict["bbox_weight"][0, 4:] = 1
    prob, loss, label = (out.asnumpy() for out in executor.forward(is_train=True))
    executor.backward()
    assert prob.shape == (1, 3, 2) and loss.shape == (1, 3, 8) and label.tolist() == [[1, -1, 0]]
    assert loss.sum() == pytest.approx(2.5)
    scores = executor.grad_dict["cls_score"].asnumpy()
    np.testing.assert_allclose(scores, np.array([[0.5, -0.5], [0, 0], [-0.5, 0.5]]) / 2, atol=1e-7)
    boxes = executor.grad_dict["bbox_pred"].asnumpy()
    assert boxes[0, 4] == pytest.approx(-1 / 4) and np.count_nonzero(boxes) == 1


def test_outputs_are_grouped_by_image():
    scores = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    outputs = run(symbol(head_outputs, *variables("s", "b"), 3), s=scores, b=np.zeros((6, 8), np.float32))
    prob = outputs["cls_prob_reshape"]
    assert prob.shape == (2, 3, 4) and outputs["bbox_pred_reshape"].shape == (2, 3, 8)
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(prob.reshape(6, 4), expected, rtol=1e-5)


def test_embedding():
    network = symbol(embedding, *variables("x"), (4, 5, 6))
    args, outputs, _ = network.infer_shape(x=(2, 3, 7, 9))
    assert outputs == [(2, 6, 7, 9)]
    shapes = dict(zip(network.list_arguments(), args))
    assert shapes["em_conv1_weight"] == (4, 3, 1, 1) and shapes["em_conv2_weight"] == (5, 4, 3, 3)
    assert shapes["em_conv3_weight"] == (6, 5, 1, 1)
