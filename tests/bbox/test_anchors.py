"""Anchors: the nine of Faster R-CNN, the grid and the two layouts."""

from __future__ import annotations

import numpy as np

from lib.bbox.anchors import base_anchors, grid, to_anchor_first, to_channels

# generate_anchors of Faster R-CNN, as its paper's code documents them (there 1 to 16, here 0 to 15)
NINE = [
    [-84, -40, 99, 55],
    [-176, -88, 191, 103],
    [-360, -184, 375, 199],
    [-56, -56, 71, 71],
    [-120, -120, 135, 135],
    [-248, -248, 263, 263],
    [-36, -80, 51, 95],
    [-80, -168, 95, 183],
    [-168, -344, 183, 359],
]


def test_the_nine():
    np.testing.assert_array_equal(base_anchors(), NINE)


def test_one_square():
    np.testing.assert_array_equal(base_anchors(8, [1], [1, 2]), [[0, 0, 7, 7], [-4, -4, 11, 11]])


def test_grid_order_is_row_column_anchor():
    base = base_anchors(16, [1], [1, 2])
    anchors = grid(base, 2, 3, 16)
    assert anchors.shape == (12, 4) and anchors.dtype == np.float32
    np.testing.assert_array_equal(anchors[:2], base)
    np.testing.assert_array_equal(anchors[2], base[0] + [16, 0, 16, 0])
    np.testing.assert_array_equal(anchors[6], base[0] + [0, 16, 0, 16])
    np.testing.assert_array_equal(anchors[11], base[1] + [32, 16, 32, 16])


def test_layouts():
    rows, columns, anchors = 2, 3, 4
    index = np.arange(rows * columns * anchors)
    row, column, anchor = 1, 2, 3
    place = (row * columns + column) * anchors + anchor
    labels = to_anchor_first(index, rows, columns)
    assert labels.shape == (1, 24)
    assert labels[0, (anchor * rows + row) * columns + column] == place
    channels = to_channels(np.stack([index * 10 + k for k in range(4)], axis=1), rows, columns)
    assert channels.shape == (1, 16, 2, 3)
    np.testing.assert_array_equal(channels[0, 4 * anchor : 4 * anchor + 4, row, column], place * 10 + np.arange(4))
