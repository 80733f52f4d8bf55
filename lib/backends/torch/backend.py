"""PyTorch as a `lib.backends.base.Backend`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lib.backends.base import ALONE, Adam, Array, Arrays, Build, Calibration, Device, Precision, Processes, Sgd, Shape
from lib.backends.torch import distributed, runtime
from lib.backends.torch.precision import precision_of, training_type
from lib.backends.torch.shapes import shapes_of
from lib.backends.torch.trainer import TrainStep
from lib.errors import InputError


class Torch:
    """graphs: whether GPUs run networks as CUDA graphs, rather than operator by operator."""

    name = "torch"

    def __init__(self, *, graphs: bool = True):
        self._graphs = graphs

    def devices(self, gpus: str) -> list[Device]:
        return runtime.devices(gpus)

    def shapes(self, build: Build, **inputs: Shape) -> tuple[dict[str, Shape], dict[str, Shape]]:
        return shapes_of(build, **inputs)

    def network(self, build: Build, device: Device, args: Arrays, auxs: Arrays) -> runtime.Forward:
        return runtime.Forward(build, device, args, auxs, graphs=self._graphs)

    def processes(self, gpus: str) -> Processes:
        return distributed.processes(self.devices(gpus))

    def trainer(
        self,
        build: Build,
        devices: Sequence[Device],
        args: Arrays,
        auxs: Arrays,
        trainable: Iterable[str],
        optimizer: Sgd | Adam,
        *,
        precision: str = "float32",
        processes: Processes = ALONE,
    ) -> TrainStep:
        dtype = training_type(precision, devices)
        return TrainStep(build, devices, args, auxs, trainable, optimizer, dtype=dtype, processes=processes)

    def precision(self, kind: str, weights: str | Path) -> Precision:
        return precision_of(kind, graphs=self._graphs)

    def calibration(self) -> Calibration:
        raise InputError("calibration is for int8, which needs the MXNet backend (backend: mxnet)")

    def overlaps(self, device: Device) -> bool:
        return device.type == "cuda"

    def fetch(self, outputs: Mapping[str, Array]) -> Callable[[], dict[str, np.ndarray]]:
        return runtime.fetch(outputs)
