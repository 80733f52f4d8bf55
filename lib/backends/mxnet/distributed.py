"""Training in several processes through MXNet's parameter server."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from lib.backends.base import Alone, Device, Processes
from lib.backends.mxnet.loader import mx
from lib.errors import InputError
from lib.machine import Launch, launch
from lib.peers import Hub, Member, end, stopped

DISTRIBUTED = ("dist_sync", "dist_device_sync")
_REPORTING = 5.0  # seconds in which the members learn of a failure


class ParameterServer:
    """This worker and the others, as `lib.backends.base.Processes`.

    Gradients are added up by MXNet's servers, in float32. What must be exact, the sums of `total`, and what must not
    wait for ever, goes through `lib.peers`, whose hub is in the scheduler's process.
    """

    def __init__(self, devices: Sequence[Device], started: Launch, kvstore: str):
        self.devices, self.rank, self.count = devices, started.rank, started.count
        self._member = _member(started)
        self._store = mx.kv.create(kvstore)
        self._known: set[str] = set()

    def __enter__(self) -> ParameterServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None or issubclass(kind, SystemExit):
            del self._store  # waits for the others, and ends the servers
            self._member.leave()
            return
        self._member.leave("has failed")
        # MXNet would wait for the others when the store is freed or Python ends.
        atexit.register(lambda store: os._exit(2), self._store)

    def total(self, values: np.ndarray) -> np.ndarray:
        return self._member.total(values)

    def share(self, content: bytes) -> bytes:
        return self._member.share(content if self.rank == 0 else b"")

    def add_up(self, gradients: Mapping[str, Sequence[Any]]) -> None:
        """Replaces the first array of each name with the sum of all arrays of that name, over all processes."""
        new = [name for name in gradients if name not in self._known]
        if new:
            self._store.init(new, [mx.nd.zeros_like(gradients[name][0]) for name in new])
            self._known.update(new)
        for index, (name, values) in enumerate(gradients.items()):
            self._store.push(name, list(values), priority=-index)
            self._store.pull(name, out=values[0], priority=-index)


def processes(devices: Callable[[], Sequence[Device]], kvstore: str) -> Processes:
    """The processes that train on these devices: those of the parameter server, or only this one.

    devices: a function that returns this machine's. The scheduler and the servers stay here and leave with SystemExit.
    Raises InputError if DMLC_ROLE and `kvstore` contradict each other.
    """
    started = launch()
    if started is None:
        if kvstore in DISTRIBUTED:
            raise InputError(
                f"default.kvstore: {kvstore} needs DMLC_ROLE and its companions in the environment "
                "(docs/training.md); use device to train in one process"
            )
        return Alone(devices())
    if started.server is None:
        raise InputError(
            "torchrun needs backend: torch (--set backend=torch); MXNet trains on all GPUs of the gpus setting in "
            "one process, which python starts, and on several machines with default.kvstore: dist_sync"
        )
    if kvstore not in DISTRIBUTED:
        raise InputError(
            f"default.kvstore: {kvstore} is for one process, but DMLC_ROLE is set; use "
            "--set default.kvstore=dist_sync, or unset DMLC_ROLE"
        )
    if started.role != "worker":
        _serve(started)
    return ParameterServer(devices(), started, kvstore)


def _member(started: Launch) -> Member:
    assert started.server is not None
    name = f"{'process' if started.role == 'worker' else started.role} {started.rank}"
    return Member(started.server.host, started.server.port + 1, name, hub="the scheduler")


def _serve(started: Launch) -> None:
    """Runs the scheduler or a server until the training is over, then raises SystemExit."""
    assert started.server is not None
    if started.role == "scheduler":
        members = [f"process {number}" for number in range(started.count)]
        members += [f"server {number}" for number in range(started.server.servers)]
        hub = Hub(members, port=started.server.port + 1)
        threading.Thread(target=_follow, args=(hub,), daemon=True).start()
        _run_role()
    member = _member(started)
    try:
        _run_role()
    finally:
        member.leave()


def _run_role() -> None:
    """Raises SystemExit when the job is over. The first import of MXNet in such a role does not return either."""
    mx.kvstore.kvstore_server._init_kvstore_server_module()


def _follow(hub: Hub) -> None:
    """Ends the scheduler when the job has failed, as MXNet would let it wait for ever."""
    hub.over.wait()
    if hub.failure:
        time.sleep(_REPORTING)
        end(stopped(hub.failure))
