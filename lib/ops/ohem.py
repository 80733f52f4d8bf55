"""Online hard example mining (Shrivastava et al., CVPR 2016): the head learns only from its hardest rois."""

from __future__ import annotations

import numpy as np


def roi_losses(
    cls_score: np.ndarray, bbox_pred: np.ndarray, label: np.ndarray, bbox_target: np.ndarray, bbox_weight: np.ndarray
) -> np.ndarray:
    """Class loss plus box loss of every roi, (R,) float32; -inf where the label is -1.

    cls_score (R, C) before the softmax, label (R,), the others (R, 4 * box classes). The class loss is
    -log softmax of the label, the box loss the weighted smooth-L1 summed over the coordinates.
    """
    rows = np.arange(len(label))
    shifted = cls_score - cls_score.max(axis=1, keepdims=True)
    class_loss = np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, np.maximum(label, 0).astype(np.int64)]
    distance = np.abs(bbox_pred - bbox_target)
    smooth = np.where(distance < 1, 0.5 * distance * distance, distance - 0.5)
    losses = class_loss + (bbox_weight * smooth).sum(axis=1)
    losses[label < 0] = -np.inf
    return losses


def hardest(losses: np.ndarray, count: int) -> np.ndarray:
    """Rows of the `count` largest losses (all if there are fewer); of equal losses, the first rows."""
    return np.argsort(-losses, kind="stable")[:count]


def ohem(
    cls_score: np.ndarray,
    bbox_pred: np.ndarray,
    label: np.ndarray,
    bbox_target: np.ndarray,
    bbox_weight: np.ndarray,
    *,
    rois_per_image: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(label (R,), bbox_weight (R, 4 * box classes)), set to -1 and 0 for all but the `rois_per_image` hardest rois."""
    keep = hardest(roi_losses(cls_score, bbox_pred, label, bbox_target, bbox_weight), rois_per_image)
    new_label, new_weight = np.full_like(label, -1), np.zeros_like(bbox_weight)
    new_label[keep], new_weight[keep] = label[keep], bbox_weight[keep]
    return new_label, new_weight
