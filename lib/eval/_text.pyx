# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Parse detection lines `frame_id class_index score x1 y1 x2 y2` without creating Python objects."""

from libc.stdint cimport int32_t, int64_t, uint64_t

cdef double[23] POWERS
POWERS[:] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
]

cdef uint64_t EXACT = 1 << 53

# Why the parser stopped.
FINE = 0
COLUMNS = 1
NUMBER = 2
CLASS = 3


cdef inline bint blank(unsigned char c) noexcept nogil:
    return c == 32 or c == 9 or c == 13 or c == 11 or c == 12


cdef int integer(const unsigned char *at, Py_ssize_t size, int64_t *value) noexcept nogil:
    """Parse a decimal integer of at most 18 digits. Returns 1 if the token is one, else 0."""
    cdef bint negative = size > 0 and at[0] == 45
    cdef Py_ssize_t i = 1 if negative or (size > 0 and at[0] == 43) else 0
    cdef int64_t total = 0
    if size - i < 1 or size - i > 18:
        return 0
    while i < size:
        if at[i] < 48 or at[i] > 57:
            return 0
        total = total * 10 + (at[i] - 48)
        i += 1
    value[0] = -total if negative else total
    return 1


cdef int decimal(const unsigned char *at, Py_ssize_t size, double *value) noexcept nogil:
    """Parse a plain decimal if one division gives the nearest double. Returns 1, or 0 to leave the token to Python."""
    cdef bint negative = size > 0 and at[0] == 45
    cdef Py_ssize_t i = 1 if negative or (size > 0 and at[0] == 43) else 0
    cdef uint64_t total = 0
    cdef int digits = 0, behind = 0
    cdef bint point = False
    while i < size:
        if at[i] == 46 and not point:
            point = True
        elif 48 <= at[i] <= 57:
            total = total * 10 + (at[i] - 48)
            digits += 1
            behind += point
        else:
            return 0
        i += 1
    # The digits and the power of ten are exact doubles, so their quotient is rounded only once.
    if digits < 1 or digits > 18 or total > EXACT:
        return 0
    value[0] = <double> total / POWERS[behind]
    if negative:
        value[0] = -value[0]
    return 1


def parse(
    const unsigned char[::1] data, int64_t classes, int64_t[::1] frame_ids, int32_t[::1] class_ids,
    double[::1] scores, double[:, ::1] boxes,
):
    """Parse whole lines (the last may lack its newline) into arrays that have a row for every line.

    Returns (rows, fault, line): the number of rows filled; FINE, or the kind of fault; and the number of lines read,
    which is the index of the faulty line from 0. Blank lines are skipped. If `classes` is not 0, a class outside
    1..classes is a fault.
    """
    cdef Py_ssize_t size = data.shape[0]
    cdef Py_ssize_t at = 0, start, column
    cdef Py_ssize_t[8] begins
    cdef Py_ssize_t[8] lengths
    cdef int64_t rows = 0, line = 0, number = 0
    cdef double[5] values
    cdef double value = 0
    while at < size:
        column = 0
        while at < size and data[at] != 10:
            if blank(data[at]):
                at += 1
                continue
            start = at
            while at < size and data[at] != 10 and not blank(data[at]):
                at += 1
            if column < 8:
                begins[column] = start
                lengths[column] = at - start
                column += 1
        at += 1
        if column:
            if column != 7:
                return rows, COLUMNS, line
            if not integer(&data[begins[0]], lengths[0], &number):
                return rows, NUMBER, line
            frame_ids[rows] = number
            if not integer(&data[begins[1]], lengths[1], &number):
                return rows, NUMBER, line
            if classes and not 1 <= number <= classes:
                return rows, CLASS, line
            if number > 2147483647 or number < -2147483647:
                return rows, CLASS, line
            class_ids[rows] = <int32_t> number
            for column in range(5):
                if not decimal(&data[begins[column + 2]], lengths[column + 2], &value):
                    try:
                        value = float(bytes(data[begins[column + 2] : begins[column + 2] + lengths[column + 2]]))
                    except ValueError:
                        return rows, NUMBER, line
                    if not (-1e300 < value < 1e300):
                        return rows, NUMBER, line
                values[column] = value
            scores[rows] = values[0]
            for column in range(4):
                boxes[rows, column] = values[column + 1]
            rows += 1
        line += 1
    return rows, FINE, line
