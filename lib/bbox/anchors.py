"""Anchors of a region proposal network (Faster R-CNN, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def base_anchors(
    base: int = 16, ratios: Sequence[float] = (0.5, 1, 2), scales: Sequence[float] = (8, 16, 32)
) -> np.ndarray:
    """Anchors of the cell at the origin, (A, 4) float32 x1 y1 x2 y2.

    A = len(ratios) * len(scales); the scale varies fastest. The anchors are centred on the square
    (0, 0, base - 1, base - 1); MXNet's Proposal operator uses the stride as `base`. Ratios are height / width. As in
    Faster R-CNN, sides are rounded to whole pixels, width first, before they are multiplied by the scale.
    """
    heights_per_width = np.asarray(ratios, dtype=np.float64)
    rounded = np.round(np.sqrt(base * base / heights_per_width))
    widths = np.outer(rounded, scales).ravel()
    heights = np.outer(np.round(rounded * heights_per_width), scales).ravel()
    centre = 0.5 * (base - 1)
    half_widths, half_heights = 0.5 * (widths - 1), 0.5 * (heights - 1)
    corners = (centre - half_widths, centre - half_heights, centre + half_widths, centre + half_heights)
    return np.stack(corners, axis=1).astype(np.float32)


def grid(base: np.ndarray, height: int, width: int, stride: int) -> np.ndarray:
    """Anchors of a feature map of (height, width) cells.

    base (A, 4) -> (height * width * A, 4) float32, in pixels of the resized image, in (row, column, anchor) order.
    """
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) * np.float32(stride)
    shifts = np.stack((columns, rows, columns, rows), axis=-1).reshape(-1, 1, 4)
    return (shifts + base[None]).reshape(-1, 4)


def to_anchor_first(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Reorder one value per anchor from the order of `grid` to that of the network's class output.

    values (height * width * A,) -> (1, A * height * width), in (anchor, row, column) order.
    """
    return np.ascontiguousarray(values.reshape(height, width, -1).transpose(2, 0, 1)).reshape(1, -1)


def to_channels(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Reorder four values per anchor from the order of `grid` to the layout of the network's box output.

    values (height * width * A, 4) -> (1, 4 * A, height, width), channel = anchor * 4 + coordinate.
    """
    return np.ascontiguousarray(values.reshape(height, width, -1).transpose(2, 0, 1))[None]
