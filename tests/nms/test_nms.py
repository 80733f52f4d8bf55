"""Greedy non-maximum suppression, checked against plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.nms.nms import nms, nms_per_class


def iou(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    common = max(width, 0) * max(height, 0)
    return common / (sum((v[2] - v[0] + 1) * (v[3] - v[1] + 1) for v in (a, b)) - common)


def reference(dets, threshold):
    kept = []
    for row in sorted(range(len(dets)), key=lambda row: -dets[row, 4]):
        if all(iou(dets[row], dets[other]) <= threshold for other in kept):
            kept.append(row)
    return kept


def random_frame(seed, count, classes):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 40, (count, 2))
    boxes = np.concatenate((corner, corner + rng.integers(0, 30, (count, 2))), axis=1).astype(np.float32)
    scores = (rng.integers(0, 12, (count, classes + 1)) / 12).astype(np.float32)  # many ties
    return boxes, scores


def test_by_hand():
    dets = np.float32([[0, 0, 9, 9, 0.5], [0, 0, 9, 8, 0.9], [50, 50, 59, 59, 0.1], [0, 0, 9, 9, 0.95]])
    assert nms(dets, 0.3).tolist() == [3, 2]
    assert nms(dets, 0.95).tolist() == [3, 1, 2]


def test_an_iou_of_exactly_the_threshold_is_kept():
    dets = np.float32([[0, 0, 9, 9, 0.9], [0, 0, 9, 2, 0.8]])  # 30 of 100
    assert nms(dets, 0.3).tolist() == [0, 1]
    assert nms(dets, 0.2999).tolist() == [0]


def test_among_equal_scores_the_first_row_wins():
    assert nms(np.float32([[0, 0, 9, 9, 0.5]] * 3), 0.3).tolist() == [0]


def test_boxes_are_compared_in_double_precision():
    # IoU 0.3 + 1e-9 of 1000 x 1000 pixels; in float32 the boxes would have an IoU of exactly 0.3.
    dets = np.array([[0, 0, 999, 999, 0.9], [0, 0, 999, 299.000001, 0.8]])
    assert nms(dets, 0.3).tolist() == [0]
    assert nms(dets.astype(np.float32), 0.3).tolist() == [0, 1]


def test_nothing():
    assert nms(np.zeros((0, 5)), 0.3).tolist() == []
    rows, classes = nms_per_class(np.zeros((0, 4)), np.zeros((0, 5)), 0.3, 0.0)
    assert len(rows) == len(classes) == 0
    rows, _ = nms_per_class(np.zeros((2, 4)), np.full((2, 3), 0.5), 0.3, 0.5)
    assert len(rows) == 0


def test_wrong_shapes():
    with pytest.raises(ValueError, match="dets"):
        nms(np.zeros((2, 4)), 0.3)
    with pytest.raises(ValueError, match="boxes"):
        nms_per_class(np.zeros((2, 4)), np.zeros((3, 5)), 0.3, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(0, 40), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_equals_the_reference(seed, count, threshold):
    boxes, scores = random_frame(seed, count, 1)
    dets = np.concatenate((boxes, scores[:, 1:]), axis=1)
    assert nms(dets, threshold).tolist() == reference(dets, threshold)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(0, 40), st.sampled_from([0.0, 0.25, 0.9]))
def test_all_classes_at_once_equal_one_by_one(seed, count, low):
    boxes, scores = random_frame(seed, count, 4)
    rows, classes = nms_per_class(boxes, scores, 0.3, low)
    expected = []
    for index in range(1, 5):
        chosen = np.flatnonzero(scores[:, index] > low)
        kept = nms(np.concatenate((boxes[chosen], scores[chosen, index : index + 1]), axis=1), 0.3)
        expected += [(row, index) for row in chosen[kept]]
    assert list(zip(rows, classes)) == expected


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(1, 60))
def test_limit_keeps_the_best_over_all_classes(seed, limit):
    boxes, scores = random_frame(seed, 40, 4)
    rows, classes = nms_per_class(boxes, scores, 0.3, 0.0)
    cut_rows, cut_classes = nms_per_class(boxes, scores, 0.3, 0.0, limit)
    assert len(cut_rows) == min(limit, len(rows))
    everything = list(zip(rows, classes))
    left = list(zip(cut_rows, cut_classes))
    assert [pair for pair in everything if pair in set(left)] == left  # in the same order
    gone = [scores[pair] for pair in everything if pair not in set(left)]
    assert not gone or max(gone) <= min(scores[pair] for pair in left)
