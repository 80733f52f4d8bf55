"""Rois, labels and box targets of the detection head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.bbox.sample import sample_rois
from lib.bbox.transform import decode

GOLDEN = Path(__file__).parents[1] / "data" / "training_step.npz"
GT = np.float32([[0, 0, 9, 9, 3]])
# IoU with the object: 0, 0.5, 0.8, 0.25
ROIS = np.float32([[0, 50, 50, 59, 59], [0, 0, 0, 9, 19], [0, 0, 0, 9, 7], [0, 0, 0, 9, 39]])


def test_golden_step():
    with np.load(GOLDEN, allow_pickle=False) as golden:
        found = sample_rois(golden["rois"], golden["input_gt_boxes"][0], num_reg_classes=2)
        np.testing.assert_array_equal(found.rois, golden["op_rois_output"])
        np.testing.assert_array_equal(found.label, golden["op_label"])
        np.testing.assert_allclose(found.bbox_target, golden["op_bbox_target"], rtol=0, atol=2e-5)
        np.testing.assert_array_equal(found.bbox_weight, golden["op_bbox_weight"])


def test_all_rois_and_the_object_are_kept_foreground_first():
    found = sample_rois(ROIS, GT, num_reg_classes=2)
    assert found.label.tolist() == [3, 3, 3, 0, 0]
    np.testing.assert_array_equal(found.rois[:3, 4], [19, 7, 9])
    deltas = found.bbox_target[:3, 4:] * np.float32([0.1, 0.1, 0.2, 0.2])
    np.testing.assert_allclose(decode(found.rois[:3, 1:], deltas), np.repeat(GT[:, :4], 3, axis=0), atol=1e-4)
    assert not found.bbox_target[:, :4].any() and not found.bbox_target[3:].any()
    assert (found.bbox_weight[:3, 4:] == 1).all() and found.bbox_weight.sum() == 12


def test_between_the_thresholds_is_ignored():
    found = sample_rois(ROIS, GT, fg_thresh=0.7, bg_thresh_hi=0.4, bg_thresh_lo=0.1, num_reg_classes=2)
    assert found.label.tolist() == [3, 3, 0, -1, -1]


def test_the_regression_threshold_does_not_change_the_class():
    found = sample_rois(ROIS, GT, regression_thresh=0.7, num_reg_classes=2)
    assert found.label.tolist() == [3, 3, 3, 0, 0]
    assert found.bbox_weight[:, 4].tolist() == [0, 1, 1, 0, 0]


def test_means_and_box_weights():
    found = sample_rois(ROIS, GT, bbox_means=(1, 2, 3, 4), bbox_weights=(1, 2, 0, 4), num_reg_classes=2)
    np.testing.assert_allclose(found.bbox_target[2, 4:], [-10, -20, -15, -20], rtol=1e-6)
    np.testing.assert_array_equal(found.bbox_weight[2, 4:], [1, 2, 0, 4])


def test_no_object_means_background():
    found = sample_rois(ROIS, np.zeros((0, 5)), num_reg_classes=2)
    assert found.label.tolist() == [0, 0, 0, 0] and not found.bbox_weight.any()


@pytest.mark.parametrize(("size", "foreground"), [(4, 1), (8, 2), (16, 3)])
def test_sampled_batches_have_the_requested_size_and_fraction(size, foreground):
    found = sample_rois(ROIS, GT, batch_rois=size, fg_fraction=0.2, rng=np.random.default_rng(0), num_reg_classes=2)
    assert [len(array) for array in found] == [size] * 4
    assert (found.label > 0).sum() == foreground
    assert (found.label == 0).sum() == size - foreground


def test_foreground_fills_a_sampled_batch_without_background():
    found = sample_rois(ROIS[1:3], GT, batch_rois=8, rng=np.random.default_rng(0), num_reg_classes=2)
    assert found.label.tolist() == [3] * 8


def test_a_sampled_batch_without_rois_in_bounds_takes_background():
    options = {"batch_rois": 8, "bg_thresh_lo": 0.1, "rng": np.random.default_rng(0), "num_reg_classes": 2}
    assert sample_rois(ROIS, np.zeros((0, 5)), **options).label.tolist() == [0] * 8


def test_sampling_needs_a_generator_and_rois():
    with pytest.raises(ValueError, match="rng"):
        sample_rois(ROIS, GT, batch_rois=8, num_reg_classes=2)
    with pytest.raises(ValueError, match="neither"):
        sample_rois(np.zeros((0, 5)), np.zeros((0, 5)), num_reg_classes=2)
