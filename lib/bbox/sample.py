"""Regions of interest (rois) to train the detection head on, with their targets (Fast R-CNN, section 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lib.bbox.overlaps import overlaps
from lib.bbox.transform import encode


class RoiTargets(NamedTuple):
    """Training targets of the detection head for R rois of one image; foreground rois come first.

    rois (R, 5): batch index, x1 y1 x2 y2; label (R,): class, 0 background, -1 ignored;
    bbox_target, bbox_weight (R, 4 * num_reg_classes): 0 outside columns 4..7. All are float32.
    """

    rois: np.ndarray
    label: np.ndarray
    bbox_target: np.ndarray
    bbox_weight: np.ndarray


def sample_rois(
    rois: np.ndarray,
    gt_boxes: np.ndarray,
    *,
    num_reg_classes: int,
    batch_rois: int = -1,
    fg_fraction: float = 0.25,
    fg_thresh: float = 0.5,
    bg_thresh_hi: float = 0.5,
    bg_thresh_lo: float = 0.0,
    regression_thresh: float = 0.5,
    bbox_means: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
    bbox_stds: Sequence[float] = (0.1, 0.1, 0.2, 0.2),
    bbox_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    rng: np.random.Generator | None = None,
) -> RoiTargets:
    """Labels and box targets for the proposals and the ground truth of one image.

    rois (N, 5): batch index (the same for all), x1 y1 x2 y2; gt_boxes (G, 5): x1 y1 x2 y2 class, G may be 0. The
    ground-truth boxes are added to the rois. A roi with IoU >= fg_thresh is foreground and takes the class of its best
    box; one with bg_thresh_lo <= IoU < bg_thresh_hi is background. Foreground rois with IoU >= regression_thresh
    have box targets with a weight.

    With batch_rois = -1, all N + G rois are returned; a roi that is neither foreground nor background has label -1.
    With batch_rois = B > 0, B rois are returned: up to round(fg_fraction * B) foreground rois, the rest background,
    drawn at random, and repeatedly if there are too few. Box targets are class-agnostic:
    (delta - bbox_means) / bbox_stds, in columns 4..7.

    Raises ValueError if batch_rois > 0 and `rng` is None, or if there are neither rois nor ground-truth boxes.
    """
    rois = np.asarray(rois, dtype=np.float32).reshape(-1, 5)
    gt_boxes = np.asarray(gt_boxes, dtype=np.float32).reshape(-1, 5)
    index = rois[0, 0] if len(rois) else 0.0
    truth = np.concatenate((np.full((len(gt_boxes), 1), index, dtype=np.float32), gt_boxes[:, :4]), axis=1)
    rois = np.concatenate((rois, truth))
    if not len(rois):
        raise ValueError("neither a roi nor a ground-truth box to sample from")
    if len(gt_boxes):
        iou = overlaps(rois[:, 1:], gt_boxes)
        best = iou.argmax(axis=1)
        best_iou = iou[np.arange(len(rois)), best]
        classes = gt_boxes[best, 4]
    else:
        best_iou = np.zeros(len(rois), dtype=np.float32)
        classes = np.zeros(len(rois), dtype=np.float32)
        best = np.zeros(len(rois), dtype=np.int64)

    foreground = np.flatnonzero((best_iou >= fg_thresh) & (classes > 0))
    background = np.flatnonzero((best_iou < bg_thresh_hi) & (best_iou >= bg_thresh_lo) & (best_iou < fg_thresh))
    if batch_rois > 0:
        if rng is None:
            raise ValueError("batch_rois > 0 samples at random and needs rng")
        if not len(background):
            # No roi within the bounds, for instance with a lower bound above 0 and no object: take the easy ones.
            background = np.flatnonzero(best_iou < fg_thresh)
        foreground, background = _draw(foreground, background, batch_rois, fg_fraction, rng)
        ignored = np.zeros(0, dtype=np.int64)
    else:
        ignored = np.setdiff1d(np.arange(len(rois)), np.concatenate((foreground, background)))

    keep = np.concatenate((foreground, background, ignored))
    label = np.zeros(len(keep), dtype=np.float32)
    label[: len(foreground)] = classes[foreground]
    label[len(keep) - len(ignored) :] = -1
    target = np.zeros((len(keep), 4 * num_reg_classes), dtype=np.float32)
    weight = np.zeros_like(target)
    if len(foreground):
        deltas = encode(rois[foreground, 1:], gt_boxes[best[foreground], :4])
        deltas = (deltas - np.array(bbox_means, np.float32)) / np.array(bbox_stds, np.float32)
        target[: len(foreground), 4:8] = deltas
        regressed = (best_iou[foreground] >= regression_thresh).astype(np.float32)
        weight[: len(foreground), 4:8] = regressed[:, None] * np.array(bbox_weights, np.float32)
    return RoiTargets(rois[keep], label, target, weight)


def _draw(
    foreground: np.ndarray, background: np.ndarray, count: int, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` rows: foreground up to its share, without repetition, and background for the rest.

    Background rows are repeated if there are too few. Without any background, foreground rows fill the batch.
    """
    share = min(int(np.round(fraction * count)), len(foreground)) if len(background) else count
    if share < len(foreground):
        foreground = np.sort(rng.choice(foreground, share, replace=False))
    elif share > len(foreground):
        foreground = np.concatenate((foreground, rng.choice(foreground, share - len(foreground))))
    rest = count - share
    if rest <= len(background):
        background = np.sort(rng.choice(background, rest, replace=False))
    elif rest:
        background = np.concatenate((background, rng.choice(background, rest - len(background))))
    return foreground, background
