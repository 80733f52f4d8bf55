"""Training in several processes, one for each device, as torchrun starts them."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import os
from collections.abc import Iterator, Sequence
from types import TracebackType

import numpy as np

from lib import peers
from lib.backends.base import Alone, Processes
from lib.backends.torch.loader import Tensor, torch
from lib.errors import InputError
from lib.machine import Launch, launch
from lib.peers import Hub, Member, stopped

dist = torch.distributed

_BUCKET = 16 << 20  # numbers that are summed in one exchange: 64 MiB
_HUB = "hub"  # the key of its port in torchrun's store
_NAMING = 5.0  # seconds in which the hub may name the process that has ended
_PATIENCE = datetime.timedelta(days=30)  # of an exchange: the members watch each other, and a validation may take hours


class Torchrun:
    """This process and the others that torchrun started, as `lib.backends.base.Processes`.

    They also watch each other, with the hub in the first process, as NCCL would wait long for one that has ended.
    """

    def __init__(self, device: torch.device, started: Launch):
        self.devices, self.rank, self.count = [device], started.rank, started.count
        self._member: Member | None = None
        if device.type == "cuda":
            torch.cuda.set_device(device)
        # PyTorch imports this module by itself when it computes shapes, and its functions keep the process group of
        # that time as a default. The group would then outlive `destroy_process_group`, and its threads abort the
        # process if one of them still has a tensor when Python ends.
        importlib.import_module("torch.distributed.nn.functional")
        with self._exchange():
            store, _, _ = next(dist.rendezvous("env://", timeout=datetime.timedelta(seconds=peers.START)))
            if self.rank == 0:
                store.set(_HUB, str(Hub([f"process {each}" for each in range(self.count)]).port))
            port = int(store.get(_HUB))
        self._member = Member(os.environ["MASTER_ADDR"], port, f"process {self.rank}", hub="process 0")
        with self._exchange():
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
                store=store,
                rank=self.rank,
                world_size=self.count,
                timeout=_PATIENCE,
            )

    def __enter__(self) -> Torchrun:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert self._member is not None
        self._member.leave("" if kind is None or issubclass(kind, SystemExit) else "has failed")
        dist.destroy_process_group()

    def total(self, values: np.ndarray) -> np.ndarray:
        tensor = torch.tensor(values, dtype=torch.float64)
        with self._exchange():
            dist.all_reduce(tensor)
        return tensor.numpy()

    def share(self, content: bytes) -> bytes:
        (length,) = self.total(np.array([len(content) if self.rank == 0 else 0]))
        tensor = torch.zeros(int(length), dtype=torch.uint8)
        if self.rank == 0:
            tensor = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else tensor
        with self._exchange():
            dist.broadcast(tensor, 0)
        return tensor.numpy().tobytes()

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor with its sum over all processes; a few large exchanges instead of one for each."""
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            with self._exchange():
                dist.all_reduce(flat)
            for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket])):
                tensor.copy_(part.view_as(tensor))

    @contextlib.contextmanager
    def _exchange(self) -> Iterator[None]:
        """Turns the failure of an exchange into one line, which names the process that has ended if it is known."""
        try:
            yield
        except RuntimeError as error:
            if self._member:
                self._member.check(_NAMING)
            raise InputError(stopped(f"another process has ended ({str(error).splitlines()[0]})")) from error


def processes(devices: Sequence[torch.device]) -> Processes:
    """The processes that train on these devices of this machine: those that torchrun started, or only this one.

    Raises InputError unless torchrun started one process on this machine for each GPU.
    """
    started = launch()
    if started is not None and started.server is not None:
        raise InputError("DMLC_ROLE is for backend: mxnet; unset it and start the PyTorch backend with torchrun")
    gpus = ",".join(str(device.index) for device in devices if device.type == "cuda")
    if started is None:
        if len(set(devices)) > 1:
            raise InputError(
                f"gpus: the PyTorch backend trains on {len(devices)} GPUs with a process for each; run torchrun "
                f"--nproc-per-node {len(devices)} SCRIPT --cfg YAML instead of python, or name one GPU, such as "
                f"--set gpus={devices[0].index}"
            )
        return Alone(devices)
    if gpus and len(devices) != started.local_count:
        raise InputError(
            f"torchrun started {started.local_count} processes on this machine, but gpus: '{gpus}' names "
            f"{len(devices)} GPUs; use --nproc-per-node {len(devices)} or name {started.local_count} GPUs"
        )
    return Torchrun(devices[started.local_rank] if gpus else devices[0], started)


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(each.numel() for each in bucket) + tensor.numel() > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
