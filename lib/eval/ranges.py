"""The motion and area ranges of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.errors import LONGEST, InputError, quoted


@dataclass(frozen=True)
class Range:
    """A named range, inclusive at both ends."""

    name: str
    low: float
    high: float

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Boolean array of the values inside the range."""
        return (values >= self.low) & (values <= self.high)

    @staticmethod
    def parse(text: str) -> Range:
        """Parse `NAME=LOW:HIGH`. Raises InputError if it is not of this form, with finite LOW <= HIGH."""
        name, equals, bounds = text.partition("=")
        low, colon, high = bounds.partition(":")
        try:
            result = Range(name.strip(), float(low), float(high))
        except ValueError:
            result = Range("", math.nan, math.nan)
        named = equals and colon and 0 < len(result.name) <= LONGEST
        if not (named and -math.inf < result.low <= result.high < math.inf):
            form = "write NAME=LOW:HIGH with numbers LOW <= HIGH, for example fast=0:0.7"
            raise InputError(f"range {quoted(text)}: {form}")
        return result


# In the order of the published evaluation.
MOTION = (Range("all", 0.0, 1.0), Range("fast", 0.0, 0.7), Range("medium", 0.7, 0.9), Range("slow", 0.9, 1.0))
AREA = (
    Range("all", 0.0, 1e10),
    Range("small", 0.0, 50.0**2),
    Range("middle", 50.0**2, 150.0**2),
    Range("large", 150.0**2, 1e10),
)


def checked(ranges: Sequence[Range], what: str) -> tuple[Range, ...]:
    """The ranges as a tuple. Raises InputError if there are none or more than 64, or a name occurs twice."""
    names = [entry.name for entry in ranges]
    if not 1 <= len(names) <= 64:
        raise InputError(f"{len(names)} {what} ranges; give 1 to 64")
    if len(set(names)) < len(names):
        raise InputError(f"{what} ranges {', '.join(names)}: a name occurs twice")
    return tuple(ranges)


def parse_ranges(texts: Sequence[str], default: tuple[Range, ...], what: str) -> tuple[Range, ...]:
    """Ranges from `NAME=LOW:HIGH` texts (command line or YAML), or `default` if there are none. Raises InputError."""
    return checked([Range.parse(text) for text in texts], what) if texts else default


def shown_order(ranges: Sequence[Range], descending: bool = False) -> list[int]:
    """Indices of the ranges in display order: ascending or descending, a range that contains all others last."""
    order = sorted(range(len(ranges)), key=lambda i: (ranges[i].low, ranges[i].high), reverse=descending)
    return sorted(order, key=lambda i: contains_all(ranges, i))


def contains_all(ranges: Sequence[Range], index: int) -> bool:
    """Whether the range at `index` contains all the others."""
    here = ranges[index]
    return all(here.low <= other.low and other.high <= here.high for other in ranges)
