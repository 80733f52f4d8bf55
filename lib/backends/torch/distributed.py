"""Training in several processes, one for each device, as torchrun starts them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

import numpy as np

from lib.backends.base import Alone, Processes
from lib.backends.torch.loader import Tensor, torch
from lib.errors import InputError
from lib.machine import Launch, launch

dist = torch.distributed

_BUCKET = 16 << 20  # numbers that are summed in one exchange: 64 MiB


class Torchrun:
    """This process and the others that torchrun started, as `lib.backends.base.Processes`."""

    def __init__(self, device: torch.device, started: Launch):
        self.devices, self.rank, self.count = [device], started.rank, started.count
        if device.type == "cuda":
            torch.cuda.set_device(device)
        with _exchange():
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")

    def total(self, values: np.ndarray) -> np.ndarray:
        tensor = torch.tensor(values, dtype=torch.float64)
        with _exchange():
            dist.all_reduce(tensor)
        return tensor.numpy()

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor with its sum over all processes; a few large exchanges instead of one for each."""
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            with _exchange():
                dist.all_reduce(flat)
            for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket])):
                tensor.copy_(part.view_as(tensor))

    def close(self) -> None:
        dist.destroy_process_group()


def processes(devices: Sequence[torch.device]) -> Processes:
    """The processes that train on these devices: those that torchrun started, or only this one.

    Raises InputError unless there is one process for each GPU, all on this machine.
    """
    started = launch()
    gpus = ",".join(str(device.index) for device in devices if device.type == "cuda")
    if started is None:
        if len(set(devices)) > 1:
            raise InputError(
                f"gpus: the PyTorch backend trains on {len(devices)} GPUs with a process for each; run torchrun "
                f"--nproc-per-node {len(devices)} SCRIPT --cfg YAML instead of python, or name one GPU, such as "
                f"--set gpus={devices[0].index}"
            )
        return Alone(devices)
    if os.environ.get("LOCAL_WORLD_SIZE", str(started.count)) != str(started.count):
        raise InputError("torchrun: training uses the devices of one machine; start it with --nnodes 1")
    if gpus and len(devices) != started.count:
        raise InputError(
            f"torchrun started {started.count} processes, but gpus: '{gpus}' names {len(devices)} GPUs; use "
            f"--nproc-per-node {len(devices)} or name {started.count} GPUs"
        )
    return Torchrun(devices[started.rank] if gpus else devices[0], started)


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(each.numel() for each in bucket) + tensor.numel() > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


@contextlib.contextmanager
def _exchange() -> Iterator[None]:
    """Turns the failure of an exchange into one line."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"training stopped: another of torchrun's processes has ended ({reason}); look for its error above, then "
            "run the same command with --resume"
        ) from error
