# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled part of Seq-NMS: one class of one video. See seq_nms.py for what it computes."""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc, realloc


cdef inline double overlap(const double[:, ::1] rows, int64_t i, int64_t j) noexcept nogil:
    """IoU of two boxes, inclusive pixels."""
    cdef double width = min(rows[i, 2], rows[j, 2]) - max(rows[i, 0], rows[j, 0]) + 1
    cdef double height = min(rows[i, 3], rows[j, 3]) - max(rows[i, 1], rows[j, 1]) + 1
    cdef double inter
    if width <= 0 or height <= 0:
        return 0
    inter = width * height
    return inter / (
        (rows[i, 2] - rows[i, 0] + 1) * (rows[i, 3] - rows[i, 1] + 1)
        + (rows[j, 2] - rows[j, 0] + 1) * (rows[j, 3] - rows[j, 1] + 1)
        - inter
    )


cdef class Links:
    """Links between boxes of frame t and frame t + 1: successors and predecessors of each row, in row order."""

    cdef int64_t count
    cdef int64_t capacity
    cdef int64_t *after  # successors of all rows, concatenated
    cdef int64_t *before  # predecessors likewise
    cdef int64_t *after_start  # (N + 1) where the successors of a row begin
    cdef int64_t *before_start

    def __cinit__(self, const double[:, ::1] rows, const int64_t[::1] offsets, double threshold):
        cdef int64_t n = rows.shape[0]
        cdef int64_t frames = offsets.shape[0] - 1
        cdef int64_t t, i, j
        cdef int64_t *grown
        self.capacity = 4 * n + 16
        self.after = <int64_t *> malloc(self.capacity * sizeof(int64_t))
        self.after_start = <int64_t *> malloc((n + 1) * sizeof(int64_t))
        self.before_start = <int64_t *> malloc((n + 2) * sizeof(int64_t))
        if not self.after or not self.after_start or not self.before_start:
            raise MemoryError
        for t in range(frames):
            for i in range(offsets[t], offsets[t + 1]):
                self.after_start[i] = self.count
                if t + 1 == frames:
                    continue
                for j in range(offsets[t + 1], offsets[t + 2]):
                    if overlap(rows, i, j) >= threshold:
                        if self.count == self.capacity:
                            self.capacity *= 2
                            grown = <int64_t *> realloc(self.after, self.capacity * sizeof(int64_t))
                            if not grown:
                                raise MemoryError
                            self.after = grown
                        self.after[self.count] = j
                        self.count += 1
        self.after_start[n] = self.count
        self.before = <int64_t *> malloc((self.count + 1) * sizeof(int64_t))
        if not self.before:
            raise MemoryError
        # Counting sort by the later box keeps the earlier ones in row order.
        for i in range(n + 2):
            self.before_start[i] = 0
        for i in range(self.count):
            self.before_start[self.after[i] + 2] += 1
        for i in range(n):
            self.before_start[i + 2] += self.before_start[i + 1]
        for i in range(n):
            for j in range(self.after_start[i], self.after_start[i + 1]):
                self.before[self.before_start[self.after[j] + 1]] = i
                self.before_start[self.after[j] + 1] += 1

    def __dealloc__(self):
        free(self.after)
        free(self.before)
        free(self.after_start)
        free(self.before_start)


cdef inline bint ahead(const double[::1] key, int64_t a, int64_t b) noexcept nogil:
    """Whether row a comes before row b: larger sum, then (frame, row) order."""
    return key[a] > key[b] or (key[a] == key[b] and a < b)


cdef void sink(int64_t[::1] heap, int64_t size, int64_t at, const double[::1] key) noexcept nogil:
    cdef int64_t row = heap[at]
    cdef int64_t child
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and ahead(key, heap[child + 1], heap[child]):
            child += 1
        if not ahead(key, heap[child], row):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = row


cdef void settle(
    Links links, int64_t row, const double[:, ::1] rows, const uint8_t[::1] alive, uint8_t[::1] stale,
    double[::1] best, int64_t[::1] parent, int64_t[::1] stack,
) noexcept nogil:
    """Update `best` and `parent` of a row and of the stale rows that it depends on."""
    cdef int64_t depth = 1, i, j, k
    cdef bint ready
    cdef double total
    stack[0] = row
    while depth:
        i = stack[depth - 1]
        if not stale[i]:
            depth -= 1
            continue
        ready = True
        for k in range(links.before_start[i], links.before_start[i + 1]):
            j = links.before[k]
            if alive[j] and stale[j]:
                stack[depth] = j
                depth += 1
                ready = False
                break
        if not ready:
            continue
        best[i] = rows[i, 4]
        parent[i] = -1
        for k in range(links.before_start[i], links.before_start[i + 1]):
            j = links.before[k]
            if alive[j]:
                total = best[j] + rows[i, 4]
                if total > best[i]:
                    best[i] = total
                    parent[i] = j
        stale[i] = 0
        depth -= 1


cdef int64_t drop(
    Links links, int64_t row, uint8_t[::1] alive, uint8_t[::1] stale, const int64_t[::1] parent, int64_t[::1] stack
) noexcept nogil:
    """Remove a row with its links and mark the rows that depend on it as stale. Returns the number of removed links.

    A sum can only shrink, and only if the removed box was part of its path. Rows that are already stale are not
    visited again, which keeps the total cost close to linear.
    """
    cdef int64_t gone = 0, depth, i, j, k
    alive[row] = 0
    for k in range(links.before_start[row], links.before_start[row + 1]):
        gone += alive[links.before[k]]
    for k in range(links.after_start[row], links.after_start[row + 1]):
        gone += alive[links.after[k]]
    stack[0] = row
    depth = 1
    while depth:
        depth -= 1
        i = stack[depth]
        for k in range(links.after_start[i], links.after_start[i + 1]):
            j = links.after[k]
            if alive[j] and not stale[j] and parent[j] == i:
                stale[j] = 1
                stack[depth] = j
                depth += 1
    return gone


def rescore(
    const double[:, ::1] rows, const int64_t[::1] offsets, double link_iou, double suppress_iou, double min_sum,
    double[::1] scores, uint8_t[::1] keep, double[::1] best, double[::1] key, int64_t[::1] parent,
    int64_t[::1] heap, int64_t[::1] stack, uint8_t[::1] alive, uint8_t[::1] stale, int64_t[::1] frame_of,
):
    """Fill `scores` (N,) and `keep` (N,) for rows (N, 5) of one class; frame t is rows offsets[t]:offsets[t + 1].

    The other arrays, (N,) each, are scratch space.
    """
    cdef int64_t n = rows.shape[0]
    cdef int64_t frames = offsets.shape[0] - 1
    cdef int64_t t, i, j, row, length, left
    cdef int64_t size = n
    cdef double mean
    cdef Links links = Links(rows, offsets, link_iou)
    left = links.count
    with nogil:
        for t in range(frames):
            for i in range(offsets[t], offsets[t + 1]):
                frame_of[i] = t
                scores[i] = rows[i, 4]
                keep[i] = 1
                stale[i] = 1
                alive[i] = 1
        for i in range(n):
            settle(links, i, rows, alive, stale, best, parent, stack)
            key[i] = best[i]
            heap[i] = i
        for i in range(size // 2 - 1, -1, -1):
            sink(heap, size, i, key)
        while size and left > 0:
            row = heap[0]
            if not alive[row]:
                size -= 1
                heap[0] = heap[size]
                if size:
                    sink(heap, size, 0, key)
                continue
            # `key` is an upper bound of the sum: a row is taken only when both are equal.
            if stale[row]:
                settle(links, row, rows, alive, stale, best, parent, stack)
            if key[row] != best[row]:
                key[row] = best[row]
                sink(heap, size, 0, key)
                continue
            if best[row] < min_sum:
                break
            length = 1
            i = row
            while parent[i] >= 0:
                i = parent[i]
                length += 1
            mean = best[row] / length
            i = row
            while i >= 0:
                scores[i] = mean
                for j in range(offsets[frame_of[i]], offsets[frame_of[i] + 1]):
                    if alive[j] and j != i and overlap(rows, i, j) >= suppress_iou:
                        keep[j] = 0
                        left -= drop(links, j, alive, stale, parent, stack)
                left -= drop(links, i, alive, stale, parent, stack)
                i = parent[i]
