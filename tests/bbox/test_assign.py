"""Labels and targets of the region proposal network."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.bbox.anchors import base_anchors, grid
from lib.bbox.assign import assign, label_anchors, subsample
from lib.bbox.transform import decode

SQUARES = np.float32([[0, 0, 9, 9], [0, 0, 9, 19], [100, 100, 109, 109], [200, 0, 209, 9]])


def assigned(boxes, **options):
    options = {"base": base_anchors(16, [1], [2]), "stride": 16, "rng": np.random.default_rng(0), **options}
    return assign(np.float32(boxes).reshape(-1, 4), (4, 6), (64, 96), **options)


def grid_order(values, columns, anchors=1):
    """From (1, A * h * w) or (1, 4 A, h, w) back to the order of `grid`."""
    rows = values.size // columns // anchors if values.ndim == 2 else values.shape[2]
    return values.reshape(-1, rows, columns).transpose(1, 2, 0).reshape(rows * columns * anchors, -1)


def test_labels_by_hand():
    # IoU with the box: 1, 0.5, 0, 0
    labels, best = label_anchors(SQUARES, np.float32([[0, 0, 9, 9]]))
    assert labels.tolist() == [1, -1, 0, 0]
    assert best[0] == 0


def test_best_anchor_of_a_box_is_positive_below_the_threshold():
    labels, _ = label_anchors(SQUARES[1:], np.float32([[0, 0, 9, 9]]))
    assert labels.tolist() == [1, 0, 0]


def test_clobber_positives_prefers_negative_labels():
    box = np.float32([[0, 0, 9, 99]])  # IoU 0.1 and 0.2
    assert label_anchors(SQUARES, box)[0].tolist() == [0, 1, 0, 0]
    assert label_anchors(SQUARES, box, clobber_positives=True)[0].tolist() == [0, 0, 0, 0]


def test_ties_for_the_best_are_all_positive():
    anchors = np.float32([[0, 0, 9, 9], [10, 0, 19, 9], [50, 0, 59, 9]])
    labels, _ = label_anchors(anchors, np.float32([[5, 0, 14, 9]]), negative_overlap=0.2)
    assert labels.tolist() == [1, 1, 0]


def test_a_box_that_overlaps_no_anchor_makes_none_positive():
    labels, _ = label_anchors(SQUARES, np.float32([[0, 0, 9, 9], [500, 500, 520, 520]]))
    assert labels.tolist() == [1, -1, 0, 0]
    labels, _ = label_anchors(SQUARES, np.float32([[500, 500, 520, 520]]))
    assert labels.tolist() == [0, 0, 0, 0]


def test_no_box_and_no_anchor():
    assert label_anchors(SQUARES, np.zeros((0, 4)))[0].tolist() == [0, 0, 0, 0]
    assert label_anchors(np.zeros((0, 4)), SQUARES)[0].tolist() == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=60), st.integers(0, 40), st.integers(0, 9))
def test_subsample_counts(labels, size, seed):
    labels = np.array(labels, dtype=np.int8)
    left = subsample(labels, size, 0.5, np.random.default_rng(seed))
    positives = min((labels == 1).sum(), size // 2)
    assert (left == 1).sum() == positives
    assert (left == 0).sum() == min((labels == 0).sum(), size - positives)
    changed = left != labels
    assert (left[changed] == -1).all()


def test_subsample_of_minus_one_keeps_all():
    labels = np.array([1, 1, 0, -1], dtype=np.int8)
    np.testing.assert_array_equal(subsample(labels, -1, 0.5, np.random.default_rng(0)), labels)


def test_no_anchor_inside_the_image():
    label, target, weight = assigned([[0, 0, 60, 60]], base=base_anchors())
    assert label.shape == (1, 9 * 24) and target.shape == weight.shape == (1, 36, 4, 6)
    assert (label == -1).all() and not target.any() and not weight.any()


def test_an_image_without_objects_is_background():
    label, target, weight = assigned([])
    # Anchors of 32 px extend 8 px beyond their cell: border cells are outside, 2 x 4 remain.
    assert (label == 0).sum() == 8 and (label == -1).sum() == 16
    assert not target.any() and not weight.any()


def test_targets_turn_anchors_into_the_box():
    box = np.float32([[22, 20, 50, 45]])
    stds = (0.1, 0.1, 0.4, 0.4)
    label, target, weight = assigned(box, positive_overlap=0.4, stds=stds)
    label = grid_order(label, 6)[:, 0]
    target, weight = grid_order(target[:, :4], 6), grid_order(weight, 6)
    positive = np.flatnonzero(label == 1)
    assert len(positive) > 1
    anchors = grid(base_anchors(16, [1], [2]), 4, 6, 16)
    found = decode(anchors[positive], target.reshape(24, 4)[positive] * np.float32(stds))
    np.testing.assert_allclose(found, np.repeat(box, len(positive), axis=0), atol=1e-3)
    weight = weight.reshape(24, 4)
    assert (weight[positive] == 1).all() and weight.sum() == 4 * len(positive)


def test_weights():
    box = [[8, 8, 39, 39]]  # the anchor of cell (1, 1)
    _, _, weight = assigned(box, bbox_weights=(1, 2, 3, 4))
    np.testing.assert_allclose(weight[0, :, 1, 1], [1, 2, 3, 4])


def test_the_same_generator_gives_the_same_labels():
    options = {"batch_size": 4}
    first = assigned([[22, 20, 50, 45]], **options)
    again = assigned([[22, 20, 50, 45]], **options)
    other = assigned([[22, 20, 50, 45]], rng=np.random.default_rng(1), **options)
    np.testing.assert_array_equal(first.label, again.label)
    assert (first.label >= 0).sum() == 4
    assert (first.label != other.label).any()
