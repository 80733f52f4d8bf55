"""Labels and regression targets of a region proposal network (Faster R-CNN, section 3.1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lib.bbox.anchors import grid, to_anchor_first, to_channels
from lib.bbox.overlaps import overlaps
from lib.bbox.transform import encode


class RpnTargets(NamedTuple):
    """Training targets of the region proposal network for one image of h x w cells with A anchors each.

    label (1, A * h * w) float32: -1 ignored, 0 background, 1 object, in (anchor, row, column) order;
    bbox_target, bbox_weight (1, 4 * A, h, w) float32: channel = anchor * 4 + coordinate, 0 where label is not 1.
    """

    label: np.ndarray
    bbox_target: np.ndarray
    bbox_weight: np.ndarray


def label_anchors(
    anchors: np.ndarray,
    boxes: np.ndarray,
    *,
    positive_overlap: float = 0.7,
    negative_overlap: float = 0.3,
    clobber_positives: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Label every anchor, before sampling, and find the box it belongs to.

    anchors (N, 4), boxes (G, 4); N and G may be 0. Returns labels (N,) int8 in {-1, 0, 1} and the row of the box
    with the best IoU, (N,) int64. An anchor is positive if its IoU is >= `positive_overlap`, or if it is the best
    anchor of a box (on a tie, all of them are; a box that overlaps no anchor has none). It is negative if its IoU with
    every box is < `negative_overlap`; with `clobber_positives` this also holds for the best anchor of a box.
    """
    labels = np.full(len(anchors), -1, dtype=np.int8)
    if not len(anchors) or not len(boxes):
        labels[:] = 0
        return labels, np.zeros(len(anchors), dtype=np.int64)
    iou = overlaps(anchors, boxes)
    best = iou.argmax(axis=1)
    best_iou = iou[np.arange(len(anchors)), best]
    per_box = iou.max(axis=0)
    best_of_a_box = ((iou == per_box) & (per_box > 0)).any(axis=1)
    labels[best_iou < negative_overlap] = 0
    labels[best_of_a_box] = 1
    labels[best_iou >= positive_overlap] = 1
    if clobber_positives:
        labels[best_iou < negative_overlap] = 0
    return labels, best


def subsample(labels: np.ndarray, batch_size: int, foreground_fraction: float, rng: np.random.Generator) -> np.ndarray:
    """A copy of labels (N,) in which at most `batch_size` are positive or negative; the rest become -1, at random.

    At most `foreground_fraction` of the batch is positive. A batch size of -1 keeps all.
    """
    labels = labels.copy()
    if batch_size < 0:
        return labels
    limit = int(foreground_fraction * batch_size)
    for value in (1, 0):
        rows = np.flatnonzero(labels == value)
        if len(rows) > limit:
            labels[rng.choice(rows, len(rows) - limit, replace=False)] = -1
        if value == 1:
            limit = batch_size - min(len(rows), limit)
    return labels


def assign(
    boxes: np.ndarray,
    feature_size: tuple[int, int],
    image_size: tuple[float, float],
    *,
    base: np.ndarray,
    stride: int,
    rng: np.random.Generator,
    stds: Sequence[float] = (0.1, 0.1, 0.4, 0.4),
    batch_size: int = 256,
    foreground_fraction: float = 0.5,
    positive_overlap: float = 0.7,
    negative_overlap: float = 0.3,
    clobber_positives: bool = False,
    bbox_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
) -> RpnTargets:
    """Labels, box targets and weights for one image.

    boxes (G, 4+): the objects, in pixels of the resized image, G may be 0; feature_size (h, w) in cells;
    image_size (height, width) of the resized image; base (A, 4) from `base_anchors`. Only anchors inside the image
    are used; there may be none. Targets are delta / stds. The positives have the weights `bbox_weights`.
    """
    height, width = feature_size
    image_height, image_width = image_size
    anchors = grid(base, height, width, stride)
    inside = np.flatnonzero(
        (anchors[:, 0] >= 0) & (anchors[:, 1] >= 0) & (anchors[:, 2] < image_width) & (anchors[:, 3] < image_height)
    )
    found, best = label_anchors(
        anchors[inside],
        boxes[:, :4],
        positive_overlap=positive_overlap,
        negative_overlap=negative_overlap,
        clobber_positives=clobber_positives,
    )
    found = subsample(found, batch_size, foreground_fraction, rng)

    label = np.full(len(anchors), -1, dtype=np.float32)
    target = np.zeros((len(anchors), 4), dtype=np.float32)
    weight = np.zeros((len(anchors), 4), dtype=np.float32)
    label[inside] = found
    positive = found == 1
    rows = inside[positive]
    if len(rows):
        deltas = encode(anchors[rows], boxes[best[positive], :4])
        target[rows] = deltas / np.array(stds, np.float32)
        weight[rows] = np.array(bbox_weights, np.float32)
    return RpnTargets(
        to_anchor_first(label, height, width), to_channels(target, height, width), to_channels(weight, height, width)
    )
