"""The resources that this process may use, and the job that it belongs to."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass

from lib.errors import InputError, quoted


def cores() -> int:
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Launch:
    """This process among those that train together: number `rank`, from 0, of `count`.

    local_rank, local_count: the same among those of this machine that torchrun started. server: where MXNet's parameter
    server is; None under torchrun. role: "worker", or "scheduler" or "server", which do not train.
    """

    rank: int
    count: int
    local_rank: int = 0
    local_count: int = 1
    server: Address | None = None
    role: str = "worker"

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.role == "worker" and self.rank == 0


@dataclass(frozen=True)
class Address:
    """Where the scheduler of MXNet's parameter server listens. servers: number of server processes."""

    host: str
    port: int
    servers: int


ALONE = Launch(0, 1)


def launch() -> Launch | None:
    """What the variables of torchrun (RANK, ...) or of MXNet's parameter server (DMLC_ROLE, ...) say; None if there are
    none. Raises InputError if some of the latter are missing or wrong.
    """
    if os.environ.get("DMLC_ROLE"):
        return _parameter_server()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if not all(os.environ.get(name, "").isdigit() for name in names):
        return None
    rank, count, local = (int(os.environ[name]) for name in names)
    return Launch(rank, count, local, int(os.environ.get("LOCAL_WORLD_SIZE", count)))


def _parameter_server() -> Launch:
    role = os.environ["DMLC_ROLE"]
    if role not in ("scheduler", "server", "worker"):
        raise InputError(f"DMLC_ROLE: {role!r} is not one of scheduler, server and worker")
    host = os.environ.get("DMLC_PS_ROOT_URI", "")
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        raise InputError(
            f"DMLC_PS_ROOT_URI: {quoted(host)}; set it to the IPv4 address of the scheduler's machine, since MXNet "
            "looks up no names"
        ) from None
    address = Address(
        host,
        _number("DMLC_PS_ROOT_PORT", "a port of the scheduler's machine; the next one must be free too", 65534),
        _number("DMLC_NUM_SERVER", "the number of server processes"),
    )
    count = _number("DMLC_NUM_WORKER", "the number of worker processes")
    if role == "scheduler":
        return Launch(0, count, server=address, role=role)
    number = f"DMLC_{role.upper()}_ID"
    limit = count if role == "worker" else address.servers
    rank = _number(number, f"the number of this {role}, from 0 to {limit - 1}", limit - 1, at_least=0)
    return Launch(rank, count, server=address, role=role)


def _number(name: str, meaning: str, at_most: int = 1 << 16, at_least: int = 1) -> int:
    text = os.environ.get(name, "0" if at_most == 0 else "")
    if not text.isascii() or not text.isdigit() or not at_least <= int(text) <= at_most:
        raise InputError(f"{name}: {text!r}; set it to {meaning}")
    return int(text)


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
