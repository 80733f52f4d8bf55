"""The resources that this process may use."""

from __future__ import annotations

import os
from dataclasses import dataclass


def cores() -> int:
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Launch:
    """This process among those that torchrun started: number `rank`, from 0, of `count`."""

    rank: int
    count: int


def launch() -> Launch | None:
    """What torchrun's environment variables say; None if this process was not started by torchrun."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if not all(os.environ.get(name, "").isdigit() for name in names):
        return None
    return Launch(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
