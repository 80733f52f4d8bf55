"""MXNet's reshape codes."""

from __future__ import annotations

from collections.abc import Sequence


def decoded(codes: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """The shape that MXNet's reshape codes mean for an array of these sizes: 0 keeps a size, -4 splits one in two."""
    shape: list[int] = []
    given, left = iter(codes), iter(sizes)
    for code in given:
        if code == -4:
            size, (first, second) = next(left), (next(given), next(given))
            shape += [size // second if first == -1 else first, size // first if second == -1 else second]
        else:
            size = next(left, 1)
            shape.append(size if code == 0 else code)
    return shape
