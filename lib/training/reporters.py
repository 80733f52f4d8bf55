"""Reporters: functions that receive the figures of a training, for TensorBoard or other services.

A reporter is called as `reporter(event, step, values)`: event "train", "validate" or "end"; step, the number of steps
since epoch 0; values, numbers by name. It runs in the first process.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InputError

Reporter = Callable[[str, int, Mapping[str, float]], object]


def callback(name: str, allowed: bool) -> Reporter:
    """The function that TRAIN.CALLBACK names. Nothing is imported unless `allowed`, because a settings file may come
    from someone else. Raises InputError if it is not allowed or there is no such function.
    """
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        raise InputError(f"TRAIN.CALLBACK: {name!r} is not MODULE:FUNCTION, such as wandb_callback:log")
    if not allowed:
        raise InputError(
            f"TRAIN.CALLBACK: {name} would run code that the settings file names; add --allow-callback if you trust "
            "it, or --set TRAIN.CALLBACK= to train without it"
        )
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ImportError as error:
        raise InputError(
            f"TRAIN.CALLBACK: cannot import {module} ({error}); add its folder to PYTHONPATH, or install what it needs"
        ) from error
    if not callable(found):
        raise InputError(f"TRAIN.CALLBACK: {module} has no function {function}")
    return found


class TensorBoard:
    """A reporter that writes event files to a folder, with tensorboardX or PyTorch's writer.

    step: where training continues; what an interrupted run wrote after it is not shown. Raises InputError if neither
    writer is installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = _writer(folder, step)

    def __call__(self, event: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{event}/{name}", value, step)
        if event == "end":
            self._writer.close()
        else:
            self._writer.flush()

    def images(self, step: int, images: Sequence[np.ndarray]) -> None:
        """Writes images (H, W, 3), BGR uint8."""
        for number, image in enumerate(images):
            self._writer.add_image(f"validate/frame_{number}", image[..., ::-1], step, dataformats="HWC")


def _writer(folder: Path, step: int) -> Any:
    for package, module in (("tensorboardX", "tensorboardX"), ("tensorboard", "torch.utils.tensorboard")):
        if importlib.util.find_spec(package) and importlib.util.find_spec(module.partition(".")[0]):
            return importlib.import_module(module).SummaryWriter(str(folder), purge_step=step)
    raise InputError(
        "TRAIN.TENSORBOARD: no writer is installed; run pip install tensorboardX, or pip install tensorboard for "
        "PyTorch's"
    )
