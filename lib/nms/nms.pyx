# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Greedy non-maximum suppression of a list of boxes, or of all classes of a frame at once."""

import numpy as np


cdef inline double _iou(const double[:, ::1] boxes, Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    cdef double width, height, common, area_a, area_b
    width = min(boxes[a, 2], boxes[b, 2]) - max(boxes[a, 0], boxes[b, 0]) + 1
    height = min(boxes[a, 3], boxes[b, 3]) - max(boxes[a, 1], boxes[b, 1]) + 1
    if width <= 0 or height <= 0:
        return 0
    common = width * height
    area_a = (boxes[a, 2] - boxes[a, 0] + 1) * (boxes[a, 3] - boxes[a, 1] + 1)
    area_b = (boxes[b, 2] - boxes[b, 0] + 1) * (boxes[b, 3] - boxes[b, 1] + 1)
    return common / (area_a + area_b - common)


def nms(dets, double threshold):
    """Indices of the boxes that are kept, from the highest score to the lowest.

    dets (N, 5): x1 y1 x2 y2 score, inclusive pixels, N may be 0. A box is removed if its IoU with a kept box of a
    higher score is strictly above `threshold`; among equal scores the first row wins. Returns (M,) int64.
    Raises ValueError for any other shape.
    """
    dets = np.ascontiguousarray(dets, dtype=np.float64)
    if dets.ndim != 2 or dets.shape[1] != 5:
        raise ValueError(f"dets must be (N, 5), got {dets.shape}")
    order = np.argsort(-dets[:, 4], kind="stable")
    if not len(order):
        return order
    alive = np.ones(len(order), dtype=np.uint8)
    _suppress(dets[order], alive, threshold)
    return order[alive.view(np.bool_)]


cdef void _suppress(const double[:, ::1] boxes, unsigned char[::1] alive, double threshold) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(boxes.shape[0]):
        if alive[i]:
            for j in range(i + 1, boxes.shape[0]):
                if alive[j] and _iou(boxes, i, j) > threshold:
                    alive[j] = 0


def nms_per_class(boxes, scores, double threshold, double min_score, Py_ssize_t limit=0):
    """Apply `nms` to each class of a frame, where all classes share the same boxes.

    boxes (N, 4) in inclusive pixels; scores (N, C + 1), where column 0, the background, is ignored. Only scores
    strictly above `min_score` take part; `threshold` is that of `nms`. With `limit` > 0, only the `limit` highest
    scores of all classes are kept (among equal scores the lower class, then the lower row).
    Returns (rows, classes), both (M,) int64, sorted by class, then by score from high to low. The result is that of
    `nms` class by class, but the IoU of a pair of boxes is computed once, not once per class.
    Raises ValueError for any other shape.
    """
    boxes = np.ascontiguousarray(boxes, dtype=np.float64)
    scores = np.asarray(scores, dtype=np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.ndim != 2 or len(scores) != len(boxes):
        raise ValueError(f"boxes must be (N, 4) and scores (N, C + 1), got {boxes.shape} and {scores.shape}")
    count = len(boxes)
    # Rows of `above` are computed when first needed; `known` marks those that are.
    known = np.zeros(count, dtype=np.uint8)
    above = np.empty((count, count), dtype=np.uint8)
    rows, classes = [], []
    for index in range(1, scores.shape[1]):
        column = scores[:, index]
        order = np.flatnonzero(column > min_score)
        if not len(order):
            continue
        order = order[np.argsort(-column[order], kind="stable")]
        alive = np.ones(len(order), dtype=np.uint8)
        _suppress_shared(boxes, order, alive, known, above, threshold)
        kept = order[alive.view(np.bool_)]
        rows.append(kept)
        classes.append(np.full(len(kept), index, dtype=np.int64))
    if not rows:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    rows, classes = np.concatenate(rows), np.concatenate(classes)
    if 0 < limit < len(rows):
        best = np.sort(np.argsort(-scores[rows, classes], kind="stable")[:limit])
        rows, classes = rows[best], classes[best]
    return rows, classes


cdef void _suppress_shared(
    const double[:, ::1] boxes,
    const Py_ssize_t[::1] order,
    unsigned char[::1] alive,
    unsigned char[::1] known,
    unsigned char[:, ::1] above,
    double threshold,
) noexcept nogil:
    cdef Py_ssize_t i, j, row, other
    for i in range(order.shape[0]):
        if not alive[i]:
            continue
        row = order[i]
        if not known[row]:
            for other in range(boxes.shape[0]):
                above[row, other] = _iou(boxes, row, other) > threshold
            known[row] = 1
        for j in range(i + 1, order.shape[0]):
            if above[row, order[j]]:
                alive[j] = 0
