# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Greedy non-maximum suppression, for one list of boxes or for all classes of a frame at once."""

import numpy as np


cdef inline double _iou(const float[:, ::1] boxes, Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    cdef double width, height, common, area_a, area_b
    width = min(<double>boxes[a, 2], <double>boxes[b, 2]) - max(<double>boxes[a, 0], <double>boxes[b, 0]) + 1
    height = min(<double>boxes[a, 3], <double>boxes[b, 3]) - max(<double>boxes[a, 1], <double>boxes[b, 1]) + 1
    if width <= 0 or height <= 0:
        return 0
    common = width * height
    area_a = (<double>boxes[a, 2] - boxes[a, 0] + 1) * (<double>boxes[a, 3] - boxes[a, 1] + 1)
    area_b = (<double>boxes[b, 2] - boxes[b, 0] + 1) * (<double>boxes[b, 3] - boxes[b, 1] + 1)
    return common / (area_a + area_b - common)


def nms(dets, double threshold):
    """Indices of the boxes that survive, from the highest score to the lowest.

    dets (N, 5) x1 y1 x2 y2 score, inclusive pixels, N may be 0. A box goes when its IoU with a surviving box of a
    higher score is strictly above `threshold`; of equal scores the first row wins. Returns (M,) int64.
    Raises ValueError for another shape.
    """
    dets = np.ascontiguousarray(dets, dtype=np.float32)
    if dets.ndim != 2 or dets.shape[1] != 5:
        raise ValueError(f"dets must be (N, 5), got {dets.shape}")
    order = np.argsort(-dets[:, 4], kind="stable")
    if not len(order):
        return order
    alive = np.ones(len(order), dtype=np.uint8)
    _suppress(dets[order], alive, threshold)
    return order[alive.view(np.bool_)]


cdef void _suppress(const float[:, ::1] boxes, unsigned char[::1] alive, double threshold) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(boxes.shape[0]):
        if alive[i]:
            for j in range(i + 1, boxes.shape[0]):
                if alive[j] and _iou(boxes, i, j) > threshold:
                    alive[j] = 0


def nms_per_class(boxes, scores, double threshold, double min_score, Py_ssize_t limit=0):
    """NMS of every class of a frame whose classes share their boxes, each class by itself.

    boxes (N, 4) inclusive pixels; scores (N, C + 1), column 0 is the background and is not read. Only scores
    strictly above `min_score` take part; `threshold` as in `nms`. With `limit` > 0 only the `limit` highest scores
    over all classes are left (of equal scores the lower class, then the lower row, stays).
    Returns (rows, classes), both (M,) int64, sorted by class, then by score from high to low. It equals `nms`
    class by class, but works out the IoU of a pair of boxes once instead of once a class.
    Raises ValueError for other shapes.
    """
    boxes = np.ascontiguousarray(boxes, dtype=np.float32)
    scores = np.asarray(scores, dtype=np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.ndim != 2 or len(scores) != len(boxes):
        raise ValueError(f"boxes must be (N, 4) and scores (N, C + 1), got {boxes.shape} and {scores.shape}")
    count = len(boxes)
    # state of a row of `above`: whether it has been worked out
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
    const float[:, ::1] boxes,
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
