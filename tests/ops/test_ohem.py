"""Online hard example mining, against the golden training step and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.ops.ohem import hardest, ohem, roi_losses

GOLDEN = Path(__file__).parents[1] / "data" / "training_step.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


def test_golden_step(golden):
    names = ("cls_score_reshape", "bbox_pred_reshape", "op_label", "op_bbox_target", "op_bbox_weight")
    labels, weights = ohem(*(golden[name] for name in names), rois_per_image=128)
    np.testing.assert_array_equal(labels, golden["op_labels_ohem"])
    np.testing.assert_array_equal(weights, golden["op_bbox_weights_ohem"])


def test_losses_by_hand():
    scores = np.log(np.float32([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]]))
    label = np.float32([0, 1, -1])
    target = np.zeros((3, 8), np.float32)
    pred = np.zeros((3, 8), np.float32)
    weight = np.zeros((3, 8), np.float32)
    pred[:, 4:] = (0.5, -3, 0, 0)  # 0.125 + 2.5
    weight[1, 4:] = 1
    losses = roi_losses(scores, pred, label, target, weight)
    np.testing.assert_allclose(losses[:2], [-np.log(0.5), -np.log(0.1) + 2.625], rtol=1e-6)
    assert losses[2] == -np.inf


def test_large_scores_do_not_overflow():
    zero = np.zeros((2, 8), np.float32)
    losses = roi_losses(np.float32([[500, 0], [0, 500]]), zero, np.float32([0, 0]), zero, zero)
    np.testing.assert_allclose(losses, [0, 500])


def test_equal_losses_keep_the_first_rows():
    np.testing.assert_array_equal(hardest(np.float32([1, 2, 2, 1, 2]), 2), [1, 2])


def test_fewer_rois_than_asked_for_all_stay():
    label = np.float32([0, 1, 0])
    weight = np.ones((3, 8), np.float32)
    zero = np.zeros((3, 8), np.float32)
    labels, weights = ohem(np.zeros((3, 2), np.float32), zero, label, zero, weight, rois_per_image=128)
    np.testing.assert_array_equal(labels, label)
    np.testing.assert_array_equal(weights, weight)


def test_ignored_rois_are_taken_last():
    label = np.float32([-1, 0, 0])
    zero = np.zeros((3, 8), np.float32)
    labels, _ = ohem(np.float32([[0, 9], [9, 0], [0, 9]]), zero, label, zero, zero, rois_per_image=1)
    np.testing.assert_array_equal(labels, [-1, -1, 0])
