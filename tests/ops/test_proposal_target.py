"""Labels and box targets of proposals, against the golden training step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.ops.proposal_target import proposal_target

GOLDEN = Path(__file__).parents[1] / "data" / "training_step.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


def run(golden, **rules):
    return proposal_target(golden["rois"], golden["input_gt_boxes"], num_reg_classes=2, **rules)


def test_golden_step(golden):
    rois, label, target, weight = run(golden)
    np.testing.assert_array_equal(rois, golden["op_rois_output"])
    np.testing.assert_array_equal(label, golden["op_label"])
    np.testing.assert_allclose(target, golden["op_bbox_target"], rtol=0, atol=2e-5)
    np.testing.assert_array_equal(weight, golden["op_bbox_weight"])


def test_batch_rois_returns_that_many_and_repeats_itself(golden):
    first, again = run(golden, batch_rois=64), run(golden, batch_rois=64)
    assert [len(array) for array in first] == [64] * 4
    assert (first[1] > 0).sum() == 16  # a quarter, of 32 there are
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
