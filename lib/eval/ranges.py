"""The motion and area ranges of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.errors import InputError


@dataclass(frozen=True)
class Range:
    """A named range, inclusive at both ends."""

    name: str
    low: float
    high: float

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Boolean array: which values lie inside."""
        return (values >= self.low) & (values <= self.high)

    @staticmethod
    def parse(text: str) -> Range:
        """From `NAME=LOW:HIGH`. Raises InputError."""
        name, equals, bounds = text.partition("=")
        low, colon, high = bounds.partition(":")
        try:
            result = Range(name.strip(), float(low), float(high))
        except ValueError:
            result = Range("", math.nan, math.nan)
        if not (equals and colon and result.name and result.low <= result.high):
            raise InputError(f"range {text!r}: write NAME=LOW:HIGH with LOW <= HIGH, say fast=0:0.7")
        return result


# The order of the published evaluation.
MOTION = (Range("all", 0.0, 1.0), Range("fast", 0.0, 0.7), Range("medium", 0.7, 0.9), Range("slow", 0.9, 1.0))
AREA = (
    Range("all", 0.0, 1e10),
    Range("small", 0.0, 50.0**2),
    Range("middle", 50.0**2, 150.0**2),
    Range("large", 150.0**2, 1e10),
)


def checked(ranges: Sequence[Range], what: str) -> tuple[Range, ...]:
    """The ranges as a tuple. Raises InputError: none, more than 64, or a name that comes twice."""
    names = [entry.name for entry in ranges]
    if not 1 <= len(names) <= 64:
        raise InputError(f"{len(names)} {what} ranges; give 1 to 64")
    if len(set(names)) < len(names):
        raise InputError(f"{what} ranges {', '.join(names)}: a name comes twice")
    return tuple(ranges)


def parse_ranges(texts: Sequence[str], default: tuple[Range, ...], what: str) -> tuple[Range, ...]:
    """Ranges from `NAME=LOW:HIGH` texts (command line or YAML); `default` where there are none. Raises InputError."""
    return checked([Range.parse(text) for text in texts], what) if texts else default


def shown_order(ranges: Sequence[Range], falling: bool = False) -> list[int]:
    """Places of the ranges as tables show them: from low to high or falling, what contains all others last."""
    order = sorted(range(len(ranges)), key=lambda i: (ranges[i].low, ranges[i].high), reverse=falling)
    return sorted(order, key=lambda i: contains_all(ranges, i))


def contains_all(ranges: Sequence[Range], place: int) -> bool:
    """Whether the range at that place contains all the others."""
    here = ranges[place]
    return all(here.low <= other.low and other.high <= here.high for other in ranges)
