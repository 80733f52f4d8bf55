"""Reads PyTorch state dicts, as .safetensors or as torch.save writes them; only the latter need PyTorch."""

from __future__ import annotations

import importlib
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InputError
from lib.nets import params_file
from lib.reading import check_size, check_unpacked, foreign


def read_state(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(tensors by name as float32 arrays, other entries stored beside a `state_dict`).

    Only tensors and plain values are read; no code in the file is run. Raises InputError if PyTorch or the file is
    missing, or if the file contains anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; pass a state dict written by torch.save")
    if path.suffix == ".safetensors":
        return _read_safetensors(path), {}
    with path.open("rb") as file:
        if file.read(16) == params_file.START:
            raise InputError(f"{path}: is an MXNet parameter file already; use it as it is")
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError:
        raise InputError(
            f"{path}: reading it needs PyTorch, which is not installed; run `pip install torch` (2.6 or later; the "
            "CPU build is enough), or convert a .safetensors file"
        ) from None
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        raise InputError(
            f"{path}: PyTorch {torch.__version__} may run code that a file contains; install 2.6 or later, or convert "
            "a .safetensors file"
        )
    if zipfile.is_zipfile(path):
        with foreign(path, "not a PyTorch file, or truncated", "get it again"), zipfile.ZipFile(path) as archive:
            check_unpacked(archive, path, "get it again")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: not a state dict, or one saved with objects whose code would have to be run to load them; "
            'at its source, save only the weights: torch.save({"state_dict": model.state_dict()}, FILE)'
        ) from None
    except Exception as error:  # on bytes that are not a pickle, the reader may raise anything
        raise InputError(f"{path}: not a PyTorch file, or truncated ({_first_line(error)}); get it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a state dict")
    beside = {}
    if isinstance(content.get("state_dict"), dict):
        beside = {name: value for name, value in content.items() if name != "state_dict"}
        content = content["state_dict"]
    tensors = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    with foreign(path, "tensors that are not plain arrays", "save only the weights of a network"):
        # Tensors may repeat what a small storage holds.
        check_size(4 * sum(value.numel() for value in tensors.values()), path, "get it again")
        for name, value in tensors.items():
            if value.is_complex():
                raise ValueError(f"{name} is complex")
        state = {
            name.removeprefix("module."): value.detach().float().numpy()  # prefix added by DataParallel
            for name, value in tensors.items()
        }
    if not state:
        raise InputError(f"{path}: no tensor in it; pass a state dict written by torch.save")
    return state, beside


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        load_file = importlib.import_module("safetensors.numpy").load_file
    except ModuleNotFoundError:
        raise InputError(f"{path}: reading it needs the package safetensors; run `pip install safetensors`") from None
    with foreign(path, "not a .safetensors file, or damaged", "get it again"):
        state = load_file(path)
    if not state:
        raise InputError(f"{path}: no tensor in it; pass the weights of a network")
    return {name.removeprefix("module."): value.astype(np.float32) for name, value in state.items()}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
