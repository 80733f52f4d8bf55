"""The resources that this process may use."""

from __future__ import annotations

import os
from dataclasses import dataclass

from lib.errors import InputError


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


@dataclass(frozen=True)
class Task:
    """This process among those that run the same command: number `rank`, from 0, of `count`, `local` on its machine."""

    rank: int
    count: int
    local: int


def task() -> Task | None:
    """What the variables of torchrun (RANK, WORLD_SIZE) or of Slurm's srun say; None without them. Raises InputError
    if they contradict each other.

    In a batch script of Slurm, outside srun, SLURM_PROCID is set too, but there is no SLURM_STEP_ID.
    """
    slurm = bool(os.environ.get("SLURM_STEP_ID"))
    for rank, count, local in (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")):
        values = [os.environ.get(name, "") for name in (rank, count)]
        if not all(value.isdigit() for value in values) or (rank.startswith("SLURM") and not slurm):
            continue
        found = Task(int(values[0]), int(values[1]), int(os.environ.get(local) or 0))
        if found.rank >= found.count:
            raise InputError(f"{rank}={found.rank}, {count}={found.count}: the first must be below the second")
        return found
    return None
