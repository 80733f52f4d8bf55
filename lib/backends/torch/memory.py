"""Out of GPU memory, reported with the settings that need less."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from lib.backends.torch.loader import torch
from lib.errors import InputError

TESTING = (
    "lower SCALES, TEST.BATCH_IMAGES or, with FGFA, TEST.KEY_FRAME_INTERVAL, or set TEST.PRECISION: bfloat16, or use "
    "the CPU with gpus: ''"
)
TRAINING = "lower SCALES, name more layers in network.FIXED_PARAMS, or set TRAIN.PRECISION: bfloat16"


@contextlib.contextmanager
def enough_memory(device: torch.device, remedy: str) -> Iterator[None]:
    """Raises InputError where PyTorch finds no memory: how much was free, and what to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info(device))
        raise InputError(
            f"gpus: {device} is out of memory, {free:.1f} of {total:.1f} GiB are free; {remedy}"
        ) from error


def for_training(step: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a method of an object with a `_device` in `enough_memory`."""

    @functools.wraps(step)
    def checked(self: Any, *arguments: Any, **options: Any) -> Any:
        with enough_memory(self._device, TRAINING):
            return step(self, *arguments, **options)

    return checked
