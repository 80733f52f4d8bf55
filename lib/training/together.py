"""What the processes of one training must have in common."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping

import numpy as np
from easydict import EasyDict

from lib.backends.base import Processes
from lib.dataset.loader import TrainLoader
from lib.errors import InputError
from lib.reading import join, split
from lib.training.checkpoints import Checkpoint

_PARTS = ("args", "auxs", "optimizer", "totals")  # not the averages, which only the first process needs
# Keys that may differ from machine to machine.
_LOCAL = {"gpus", "output_path", "dataset_path", "pretrained", "pretrained_flow", "CLASSES", "MXNET_VERSION"}


def shared(processes: Processes, newest: Callable[[], Checkpoint | None]) -> Checkpoint | None:
    """The newest checkpoint of the first process, which sends it to the others: their disks need not have it."""
    if processes.count == 1:
        return newest()
    content, found = b"", None if processes.rank else newest()
    if found is not None:
        arrays = join(**{part: getattr(found, part) for part in _PARTS})
        file = io.BytesIO()
        np.savez(file, position=np.array([found.epoch, found.step, found.devices]), **arrays)
        content = file.getvalue()
    content = processes.share(content)
    if processes.rank == 0 or not content:
        return found
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    epoch, step, devices = (int(value) for value in arrays["position"])
    args, auxs, optimizer, totals = split(arrays, *_PARTS)
    return Checkpoint(epoch, step, args, auxs, optimizer, totals, devices)


def check_settings(processes: Processes, cfg: EasyDict) -> None:
    """Raises InputError in all processes if they do not have the same settings."""
    _check(
        processes,
        {
            "settings": json.dumps(_common(cfg), sort_keys=True, default=str).encode(),
            "number of GPUs in gpus": str(len(processes.devices)).encode(),
        },
    )


def check_start(processes: Processes, loader: TrainLoader, weights: Mapping[str, np.ndarray]) -> None:
    """Raises InputError in all processes if they do not have the same images and weights to start from."""
    if processes.count > 1:
        _check(
            processes,
            {
                "training images or annotations": loader.content(),
                "weights to start from": b"".join(
                    name.encode() + np.ascontiguousarray(value).tobytes() for name, value in sorted(weights.items())
                ),
            },
        )


def _check(processes: Processes, facts: Mapping[str, bytes]) -> None:
    table = np.zeros((processes.count, len(facts)))
    # 48 bits, which a float64 holds exactly
    table[processes.rank] = [int.from_bytes(hashlib.sha256(fact).digest()[:6], "big") for fact in facts.values()]
    table = processes.total(table)
    for other, column in np.argwhere(table != table[0]):
        raise InputError(
            f"process {other} has other {list(facts)[column]} than process 0; start all of them with the same "
            "settings, on copies of the same files"
        )


def _common(settings: Mapping) -> dict:
    """The settings without the keys that may differ."""
    return {
        name: _common(value) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if name not in _LOCAL
    }
