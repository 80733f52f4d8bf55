"""Box deltas: the regression targets of R-CNN, with inclusive pixel widths.

A delta is (dx, dy, dw, dh): the shift of the centre in units of the width and height of the source box, and the
logarithm of the ratio of the sizes (R-CNN, appendix C).
"""

from __future__ import annotations

import numpy as np


def _centres(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Centre x, centre y, width and height, each (N,)."""
    width = boxes[:, 2] - boxes[:, 0] + 1.0
    height = boxes[:, 3] - boxes[:, 1] + 1.0
    return boxes[:, 0] + 0.5 * (width - 1.0), boxes[:, 1] + 0.5 * (height - 1.0), width, height


def encode(boxes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Deltas that turn `boxes` into `targets`: both (N, 4) x1 y1 x2 y2 -> (N, 4) float32.

    Raises ValueError if the numbers of rows differ.
    """
    if len(boxes) != len(targets):
        raise ValueError(f"{len(boxes)} boxes and {len(targets)} targets")
    x, y, width, height = _centres(np.asarray(boxes, dtype=np.float64))
    target_x, target_y, target_width, target_height = _centres(np.asarray(targets, dtype=np.float64))
    deltas = (
        (target_x - x) / width,
        (target_y - y) / height,
        np.log(target_width / width),
        np.log(target_height / height),
    )
    return np.stack(deltas, axis=1).astype(np.float32)


def decode(boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Apply deltas to boxes: boxes (N, 4), deltas (N, 4 * K) -> (N, 4 * K) float32, K boxes per row.

    Raises ValueError if the numbers of rows differ or the number of columns is not a multiple of 4.
    """
    if len(boxes) != len(deltas) or deltas.shape[1] % 4:
        raise ValueError(f"boxes {boxes.shape} do not match deltas {deltas.shape}")
    x, y, width, height = (v[:, None] for v in _centres(np.asarray(boxes, dtype=np.float32)))
    deltas = np.asarray(deltas, dtype=np.float32)
    new_x = deltas[:, 0::4] * width + x
    new_y = deltas[:, 1::4] * height + y
    with np.errstate(over="ignore"):  # an untrained network may give infinite boxes, which `clip` bounds
        half_width = 0.5 * (np.exp(deltas[:, 2::4]) * width - 1.0)
        half_height = 0.5 * (np.exp(deltas[:, 3::4]) * height - 1.0)
    result = np.empty(deltas.shape, dtype=np.float32)
    result[:, 0::4] = new_x - half_width
    result[:, 1::4] = new_y - half_height
    result[:, 2::4] = new_x + half_width
    result[:, 3::4] = new_y + half_height
    return result


def clip(boxes: np.ndarray, height: float, width: float) -> np.ndarray:
    """A copy of boxes (N, 4 * K) clipped to an image: x to 0..width - 1, y to 0..height - 1."""
    result = np.array(boxes, dtype=np.float32)
    result[:, 0::2] = np.clip(result[:, 0::2], 0, width - 1)
    result[:, 1::2] = np.clip(result[:, 1::2], 0, height - 1)
    return result


def flip(boxes: np.ndarray, width: float) -> np.ndarray:
    """A copy of boxes (N, 4+) mirrored left to right in an image of `width` pixels; other columns are unchanged."""
    result = np.array(boxes, dtype=np.float32)
    result[:, 0] = width - 1 - boxes[:, 2]
    result[:, 2] = width - 1 - boxes[:, 0]
    return result
