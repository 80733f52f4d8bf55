"""The training operators through MXNet, against the golden training step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.backends.mxnet.custom import ohem, proposal_target, register
from lib.backends.mxnet.loader import mx
from lib.backends.mxnet.runtime import output_names, shapes_of
from tests.networks import run, variables

GOLDEN = Path(__file__).parents[2] / "data" / "training_step.npz"
TARGET_INPUTS = {"rois": "rois", "gt_boxes": "input_gt_boxes"}
OHEM_INPUTS = {
    "cls_score": "cls_score_reshape",
    "bbox_pred": "bbox_pred_reshape",
    "labels": "op_label",
    "bbox_targets": "op_bbox_target",
    "bbox_weights": "op_bbox_weight",
}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


def inputs_of(golden, names):
    return {name: golden[stored] for name, stored in names.items()}


def targets(golden, **options):
    group = mx.sym.Group(list(proposal_target(*variables(*TARGET_INPUTS), num_reg_classes=2, **options)))
    return list(run(group, **inputs_of(golden, TARGET_INPUTS)).values())


def test_targets_of_the_golden_step(golden):
    rois, label, target, weight = targets(golden)
    np.testing.assert_array_equal(rois, golden["op_rois_output"])
    np.testing.assert_array_equal(label, golden["op_label"])
    np.testing.assert_allclose(target, golden["op_bbox_target"], rtol=0, atol=2e-5)
    np.testing.assert_array_equal(weight, golden["op_bbox_weight"])


def test_batch_rois_returns_that_many_and_repeats_itself(golden):
    first, again = targets(golden, batch_rois=64), targets(golden, batch_rois=64)
    assert [len(array) for array in first] == [64] * 4
    assert (first[1] > 0).sum() == 16  # a quarter, of 32 there are
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)


def test_hardest_rois_of_the_golden_step(golden):
    group = mx.sym.Group(list(ohem(*variables(*OHEM_INPUTS), rois_per_image=128)))
    labels, weights = run(group, **inputs_of(golden, OHEM_INPUTS)).values()
    np.testing.assert_array_equal(labels, golden["op_labels_ohem"])
    np.testing.assert_array_equal(weights, golden["op_bbox_weights_ohem"])


def test_shapes_and_names_of_outputs():
    group = mx.sym.Group(list(proposal_target(*variables(*TARGET_INPUTS), num_reg_classes=3, name="targets")))
    assert output_names(group) == [f"targets_{name}" for name in ("rois", "label", "bbox_target", "bbox_weight")]
    assert group.infer_shape(rois=(7, 5), gt_boxes=(1, 2, 5))[1] == [(9, 5), (9,), (9, 12), (9, 12)]
    assert shapes_of(group, rois=(7, 5), gt_boxes=(1, 2, 5)) == ({}, {})
    limited = mx.sym.Group(list(proposal_target(*variables(*TARGET_INPUTS), num_reg_classes=3, batch_rois=4)))
    assert limited.infer_shape(rois=(7, 5), gt_boxes=(1, 2, 5))[1] == [(4, 5), (4,), (4, 12), (4, 12)]


@pytest.mark.parametrize("names, passed", [(TARGET_INPUTS, "rois"), (OHEM_INPUTS, "bbox_pred")], ids=["target", "ohem"])
def test_no_gradient_and_json_round_trip(golden, names, passed):
    arrays = inputs_of(golden, names)
    symbols = dict(zip(names, variables(*names)))
    if names is TARGET_INPUTS:
        output = proposal_target(*symbols.values(), num_reg_classes=2, name="targets")[2]
    else:
        output = ohem(*symbols.values(), rois_per_image=128, name="hardest")[1]
    register()  # a second time does no harm
    loss = mx.sym.load_json(mx.sym.MakeLoss(mx.sym.sum(output) + mx.sym.sum(symbols[passed])).tojson())
    gradients = {passed: mx.nd.zeros(arrays[passed].shape)}
    grad_req = {name: "write" if name == passed else "null" for name in names}
    arrays = {name: mx.nd.array(value) for name, value in arrays.items()}
    executor = loss.bind(mx.cpu(), arrays, args_grad=gradients, grad_req=grad_req)
    executor.forward(is_train=True)
    executor.backward()
    np.testing.assert_array_equal(gradients[passed].asnumpy(), 1)  # from the sum of this input only
