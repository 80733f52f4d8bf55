"""Types of argparse options: numbers within limits. Each raises what argparse reports with the option's name."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

LARGEST = 10**9


def positive(text: str) -> int:
    """An integer from 1 to LARGEST."""
    return _between(int(text), 1, text)


def whole(text: str) -> int:
    """An integer from 0 to LARGEST."""
    return _between(int(text), 0, text)


def _between(value: int, least: int, text: str) -> int:
    if value < least:
        raise argparse.ArgumentTypeError(f"{text} is less than {least}")
    if value > LARGEST:
        raise argparse.ArgumentTypeError(f"{text[:20]} is more than {LARGEST}")
    return value


def real(low: float = -math.inf, high: float = math.inf) -> Callable[[str], float]:
    """The type of a finite number from `low` to `high`."""

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or not low <= value <= high:
            limits = f" from {low:g} to {high:g}" if math.isfinite(low) and math.isfinite(high) else ""
            raise argparse.ArgumentTypeError(f"{text[:20]} is not a finite number{limits}")
        return value

    return number
