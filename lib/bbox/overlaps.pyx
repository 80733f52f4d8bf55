# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Intersection over union of boxes with inclusive pixel widths."""

import numpy as np


def overlaps(boxes, query):
    """IoU of every box with every query box.

    boxes (N, 4+), query (K, 4+): x1 y1 x2 y2 in inclusive pixels (width = x2 - x1 + 1); other columns are ignored.
    Returns (N, K) float32, 0 where the intersection is empty; N or K may be 0.
    Raises ValueError for any other shape.
    """
    boxes = np.ascontiguousarray(boxes, dtype=np.float32)
    query = np.ascontiguousarray(query, dtype=np.float32)
    for name, array in (("boxes", boxes), ("query", query)):
        if array.ndim != 2 or array.shape[1] < 4:
            raise ValueError(f"{name} must be (N, 4), got {array.shape}")
    result = np.zeros((boxes.shape[0], query.shape[0]), dtype=np.float32)
    if result.size:
        _fill(boxes, query, result)
    return result


cdef void _fill(const float[:, ::1] boxes, const float[:, ::1] query, float[:, ::1] result) noexcept nogil:
    cdef Py_ssize_t n, k
    cdef double x1, y1, x2, y2, area, query_area, width, height, common
    for k in range(query.shape[0]):
        x1, y1, x2, y2 = query[k, 0], query[k, 1], query[k, 2], query[k, 3]
        query_area = (x2 - x1 + 1) * (y2 - y1 + 1)
        for n in range(boxes.shape[0]):
            width = min(<double>boxes[n, 2], x2) - max(<double>boxes[n, 0], x1) + 1
            if width <= 0:
                continue
            height = min(<double>boxes[n, 3], y2) - max(<double>boxes[n, 1], y1) + 1
            if height <= 0:
                continue
            common = width * height
            area = (<double>boxes[n, 2] - boxes[n, 0] + 1) * (<double>boxes[n, 3] - boxes[n, 1] + 1)
            result[n, k] = <float>(common / (area + query_area - common))
