"""Intersection over union with inclusive widths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lib.bbox.overlaps import overlaps


def reference(boxes, query):
    boxes, query = boxes.astype(np.float64)[:, None], query.astype(np.float64)[None]
    sides = np.minimum(boxes[..., 2:4], query[..., 2:4]) - np.maximum(boxes[..., :2], query[..., :2]) + 1
    common = np.where((sides > 0).all(axis=-1), sides.prod(axis=-1), 0)
    areas = [(b[..., 2] - b[..., 0] + 1) * (b[..., 3] - b[..., 1] + 1) for b in (boxes, query)]
    return (common / (areas[0] + areas[1] - common)).astype(np.float32)


@st.composite
def some_boxes(draw):
    corner = draw(arrays(np.float32, (draw(st.integers(0, 6)), 2), elements=st.integers(0, 30).map(lambda v: v / 2)))
    side = draw(arrays(np.float32, corner.shape, elements=st.integers(0, 30).map(lambda v: v / 2)))
    return np.concatenate((corner, corner + side), axis=1)


def test_by_hand():
    box = np.float32([[0, 0, 9, 9]])
    query = np.float32([[0, 0, 9, 9], [0, 0, 4, 9], [5, 5, 14, 14], [9, 9, 9, 9], [10, 0, 19, 9], [0, 0, 0, 0]])
    np.testing.assert_allclose(overlaps(box, query), [[1, 0.5, 25 / 175, 0.01, 0, 0.01]], rtol=1e-6)


def test_result_is_float32_and_other_columns_are_ignored():
    result = overlaps(np.array([[0, 0, 1, 1, 99]]), np.array([[0, 0, 1, 1, 7, 8]]))
    assert result.dtype == np.float32 and result.tolist() == [[1]]


@pytest.mark.parametrize(("n", "k"), [(0, 0), (0, 3), (3, 0)])
def test_empty(n, k):
    assert overlaps(np.zeros((n, 4)), np.zeros((k, 4))).shape == (n, k)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (1, 2, 4)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"must be \(N, 4\)"):
        overlaps(np.zeros((1, 4)), np.zeros(shape))


@settings(max_examples=40, deadline=None)
@given(some_boxes(), some_boxes())
def test_equals_the_reference(boxes, query):
    np.testing.assert_array_equal(overlaps(boxes, query), reference(boxes, query))
    np.testing.assert_array_equal(overlaps(boxes, query), overlaps(query, boxes).T)
