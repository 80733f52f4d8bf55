"""A parser of arguments whose errors are one line, and types of options: numbers within limits.

A type raises what argparse reports with the option's name.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import NoReturn

from lib.errors import InputError, nearest

LARGEST = 10**9


class Parser(argparse.ArgumentParser):
    """As argparse's, but errors raise InputError, which `lib.errors.command` prints as one line."""

    def error(self, message: str) -> NoReturn:
        _, unknown, given = message.partition("unrecognized arguments: ")
        options = re.findall(r"--[\w-]+", self.format_help()) if unknown else ()
        near = nearest(re.split("[ =]", given)[0], options)
        raise InputError(f"{message}; {f'did you mean {near}?' if near else '--help lists the options'}")


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
