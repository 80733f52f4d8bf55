"""Intersection over union of boxes with inclusive pixel widths, row by row."""

from __future__ import annotations

import numpy as np


def pairwise_iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """IoU (N,) of the boxes (N, 4) and (N, 4) in the same row, inclusive pixels."""
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    shared = np.maximum(high - low + 1, 0).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1) for boxes in (one, other)]
    return shared / (areas[0] + areas[1] - shared)
