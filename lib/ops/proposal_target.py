"""Computes the labels and box targets that the head is trained on from proposals and ground truth."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lib.bbox.sample import RoiTargets, sample_rois


def proposal_target(rois: np.ndarray, gt_boxes: np.ndarray, **rules: Any) -> RoiTargets:
    """(rois (R, 5), label (R,), bbox_target (R, 4 * box classes), bbox_weight) of one image.

    rois (N, 5) batch index x1 y1 x2 y2; gt_boxes (1, G, 5) x1 y1 x2 y2 class, both in pixels of the resized image.
    rules: options of `lib.bbox.sample.sample_rois`. R = N + G for batch_rois -1, else batch_rois. The sample drawn for
    batch_rois > 0 depends only on the rois, so repeating a step gives the same result.
    """
    return sample_rois(rois, gt_boxes[0], rng=np.random.default_rng(zlib.crc32(rois.tobytes())), **rules)


def output_shapes(
    rois: Sequence[int], gt_boxes: Sequence[int], *, num_reg_classes: int, batch_rois: int = -1, **rules: Any
) -> Sequence[tuple[int, ...]]:
    """Shapes of what `proposal_target` returns, for these shapes of its inputs."""
    count = batch_rois if batch_rois > 0 else rois[0] + gt_boxes[1]
    columns = 4 * num_reg_classes
    return (count, 5), (count,), (count, columns), (count, columns)
