# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled core of the evaluation: matching by frame, average precision by range."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc

# What a detection counts as in a motion range. lib.eval.outcomes has the same constants for Python.
cdef enum:
    NOTHING = 0
    FALSE = 1  # one false positive
    SHARE = 2  # the fraction of a false positive given by `shares` for its frame
    EMPTY = 3  # in a frame without objects: the fraction of all motion values inside the range
    TRUE = 4  # one true positive


def group(const int32_t[::1] keys, int64_t count, const int32_t[::1] order, int64_t[::1] starts, int32_t[::1] out):
    """Stable counting sort of the rows of `order` by key 0..count - 1: those of key k are out[starts[k]:starts[k + 1]].

    Rows with a negative key are left out; starts has count + 1 elements.
    """
    cdef int64_t n = order.shape[0], i
    cdef int32_t key
    with nogil:
        for i in range(count + 1):
            starts[i] = 0
        for i in range(n):
            key = keys[order[i]]
            if key >= 0 and key + 2 <= count:
                starts[key + 2] += 1
        for i in range(1, count):
            starts[i + 1] += starts[i]
        for i in range(n):
            key = keys[order[i]]
            if key >= 0:
                out[starts[key + 1]] = order[i]
                starts[key + 1] += 1


cdef inline double width(const double[:, ::1] boxes, int64_t i) noexcept nogil:
    return boxes[i, 2] - boxes[i, 0] + 1


cdef inline double height(const double[:, ::1] boxes, int64_t i) noexcept nogil:
    return boxes[i, 3] - boxes[i, 1] + 1


cdef inline double overlap(const double[:, ::1] a, int64_t i, const double[:, ::1] b, int64_t j) noexcept nogil:
    """IoU of two boxes, inclusive pixels."""
    cdef double w = min(a[i, 2], b[j, 2]) - max(a[i, 0], b[j, 0]) + 1
    cdef double h = min(a[i, 3], b[j, 3]) - max(a[i, 1], b[j, 1]) + 1
    if w <= 0 or h <= 0:
        return 0
    return w * h / (width(a, i) * height(a, i) + width(b, j) * height(b, j) - w * h)


def match(
    const int32_t[::1] order, const int64_t[::1] starts, const double[:, ::1] boxes, const int32_t[::1] classes,
    const int64_t[::1] object_starts, const double[:, ::1] object_boxes, const int32_t[::1] object_classes,
    const uint8_t[:, ::1] kept, const double[::1] thresholds, int32_t[::1] matched, uint8_t[:, ::1] kinds,
):
    """Fill `matched` (N,) with the object of each detection or -1, and `kinds` (N, R) for R motion ranges.

    The detections of frame f are rows order[starts[f]:starts[f + 1]], best score first; its objects are rows
    object_starts[f]:object_starts[f + 1]. kept (objects, R) is 1 where the motion of an object is in the range.
    """
    cdef int64_t frames = starts.shape[0] - 1
    cdef int64_t ranges = kept.shape[1]
    cdef int64_t f, i, j, r, row, first, last, best
    cdef int64_t most = 1
    cdef double iou, most_iou, inside, outside
    cdef double *ious
    cdef uint8_t *taken
    for f in range(frames):
        most = max(most, object_starts[f + 1] - object_starts[f])
    ious = <double *> malloc(most * sizeof(double))
    taken = <uint8_t *> malloc(most)
    if not ious or not taken:
        free(ious)
        free(taken)
        raise MemoryError
    with nogil:
        for f in range(frames):
            first = object_starts[f]
            last = object_starts[f + 1]
            for j in range(last - first):
                taken[j] = 0
            for i in range(starts[f], starts[f + 1]):
                row = order[i]
                best = -1
                most_iou = -1
                for j in range(first, last):
                    iou = overlap(boxes, row, object_boxes, j)
                    ious[j - first] = iou
                    if (
                        iou >= thresholds[j] and iou > most_iou
                        and object_classes[j] == classes[row] and not taken[j - first]
                    ):
                        most_iou = iou
                        best = j
                matched[row] = <int32_t> best
                if best >= 0:
                    taken[best - first] = 1
                    for r in range(ranges):
                        kinds[row, r] = TRUE if kept[best, r] else NOTHING
                    continue
                for r in range(ranges):
                    if first == last:
                        kinds[row, r] = EMPTY
                        continue
                    inside = -1
                    outside = -1
                    for j in range(first, last):
                        if kept[j, r]:
                            inside = max(inside, ious[j - first])
                        else:
                            outside = max(outside, ious[j - first])
                    kinds[row, r] = FALSE if inside > outside else NOTHING if inside < outside else SHARE
    free(ious)
    free(taken)


def average_precision(
    const int64_t[::1] starts, const uint8_t[:, ::1] kinds, const uint64_t[::1] areas, const int32_t[::1] frames,
    const double[:, ::1] shares, const double[::1] empty, const double[::1] weights,
    const double[:, :, ::1] objects, double[:, :, ::1] ap,
):
    """Fill `ap` (R, A, C): area under the interpolated precision-recall curve, -1 where `objects` (R, A, C) is 0.

    Detections are sorted by class, then by score from high to low; class c is rows starts[c]:starts[c + 1]. areas: one
    bit for each area range in which a detection counts; shares (frames, R); empty (R,); weights (frames,): how often
    a frame counts.
    """
    cdef int64_t classes = starts.shape[0] - 1
    cdef int64_t ranges = ap.shape[0]
    cdef int64_t area_ranges = ap.shape[1]
    cdef int64_t c, r, a, i, found
    cdef int64_t most = 1
    cdef uint8_t kind
    cdef double weight, true_sum, all_sum, total, best
    cdef double *precision
    cdef double *gain
    for c in range(classes):
        most = max(most, starts[c + 1] - starts[c])
    precision = <double *> malloc(most * sizeof(double))
    gain = <double *> malloc(most * sizeof(double))
    if not precision or not gain:
        free(precision)
        free(gain)
        raise MemoryError
    with nogil:
        for c in range(classes):
            for r in range(ranges):
                for a in range(area_ranges):
                    if objects[r, a, c] <= 0:
                        ap[r, a, c] = -1
                        continue
                    true_sum = 0
                    all_sum = 0
                    found = 0
                    for i in range(starts[c], starts[c + 1]):
                        kind = kinds[i, r]
                        if kind == NOTHING or not (areas[i] >> a) & 1:
                            continue
                        weight = weights[frames[i]]
                        if kind == FALSE:
                            all_sum += weight
                        elif kind == SHARE:
                            all_sum += weight * shares[frames[i], r]
                        elif kind == EMPTY:
                            all_sum += weight * empty[r]
                        elif weight > 0:
                            true_sum += weight
                            all_sum += weight
                            precision[found] = true_sum / all_sum
                            gain[found] = weight
                            found += 1
                    # Recall increases only at true positives, so the curve is needed only there.
                    total = 0
                    best = 0
                    for i in range(found - 1, -1, -1):
                        best = max(best, precision[i])
                        total += best * gain[i]
                    ap[r, a, c] = total / objects[r, a, c]
    free(precision)
    free(gain)
