"""The proposal-target operator, against the golden training step and through MXNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.backends.mxnet.loader import mx
from lib.ops.proposal_target import proposal_target, register

GOLDEN = Path(__file__).parents[1] / "data" / "training_step.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


def run(rois, gt_boxes, **options):
    symbols = proposal_target(mx.sym.Variable("rois"), mx.sym.Variable("gt_boxes"), **options)
    inputs = {"rois": mx.nd.array(rois), "gt_boxes": mx.nd.array(gt_boxes)}
    executor = mx.sym.Group(list(symbols)).bind(mx.cpu(), inputs)
    return [output.asnumpy() for output in executor.forward()]


def test_golden_step(golden):
    rois, label, target, weight = run(golden["rois"], golden["input_gt_boxes"], num_classes=2)
    np.testing.assert_array_equal(rois, golden["op_rois_output"])
    np.testing.assert_array_equal(label, golden["op_label"])
    np.testing.assert_allclose(target, golden["op_bbox_target"], rtol=0, atol=2e-5)
    np.testing.assert_array_equal(weight, golden["op_bbox_weight"])


def test_batch_rois_returns_that_many_and_repeats_itself(golden):
    first = run(golden["rois"], golden["input_gt_boxes"], num_classes=2, batch_rois=64)
    again = run(golden["rois"], golden["input_gt_boxes"], num_classes=2, batch_rois=64)
    assert [len(array) for array in first] == [64] * 4
    assert (first[1] > 0).sum() == 16  # a quarter, of 32 there are
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)


def test_no_gradient_and_json_round_trip(golden):
    rois = mx.sym.Variable("rois")
    symbols = proposal_target(rois, mx.sym.Variable("gt_boxes"), num_classes=2, name="targets")
    register()  # a second time does no harm
    loss = mx.sym.load_json(mx.sym.MakeLoss(mx.sym.sum(symbols[2]) + mx.sym.sum(rois)).tojson())
    inputs = {"rois": mx.nd.array(golden["rois"]), "gt_boxes": mx.nd.array(golden["input_gt_boxes"])}
    gradients = {"rois": mx.nd.zeros((300, 5))}
    executor = loss.bind(mx.cpu(), inputs, args_grad=gradients, grad_req={"rois": "write", "gt_boxes": "null"})
    executor.forward(is_train=True)
    executor.backward()
    np.testing.assert_array_equal(gradients["rois"].asnumpy(), 1)  # from the sum of the rois alone


def test_more_images_than_one_are_refused():
    with pytest.raises(ValueError, match="one image"):
        proposal_target(mx.sym.Variable("rois"), mx.sym.Variable("gt_boxes"), num_classes=2, batch_images=2)
