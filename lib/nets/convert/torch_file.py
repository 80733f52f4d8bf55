"""Reads state dicts that PyTorch wrote; PyTorch is needed for this alone."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InputError


def read_state(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(tensors by name as float32 arrays, what else stands beside a `state_dict`).

    Only tensors and plain values are read: nothing in the file is run. InputError: no PyTorch, no such file, or a file
    that holds other things.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a state dict written by torch.save")
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError:
        raise InputError(
            f"{path}: reading it needs PyTorch, which is not installed; run `pip install torch` (any version from 2.0, "
            "the CPU build is enough)"
        ) from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: no state dict, or one with more than tensors and plain values beside it, which would have to be "
            'run to be read; where it comes from, write torch.save({"state_dict": model.state_dict()}, FILE)'
        ) from None
    except Exception as error:  # on bytes that are no pickle its reader fails in any way
        raise InputError(f"{path}: not a PyTorch file, or cut short ({_first_line(error)})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a state dict")
    beside = {}
    if isinstance(content.get("state_dict"), dict):
        beside = {name: value for name, value in content.items() if name != "state_dict"}
        content = content["state_dict"]
    state = {
        str(name).removeprefix("module."): value.detach().float().numpy()  # what DataParallel puts before each name
        for name, value in content.items()
        if isinstance(value, torch.Tensor)
    }
    if not state:
        raise InputError(f"{path}: no tensor in it; give a state dict written by torch.save")
    return state, beside


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
