"""PyTorch as a `lib.backends.base.Backend`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lib.backends.base import Adam, Arrays, Build, Calibration, Device, Precision, Sgd, Shape
from lib.backends.torch import runtime
from lib.backends.torch.precision import precision_of
from lib.backends.torch.shapes import shapes_of
from lib.backends.torch.trainer import TrainStep
from lib.errors import InputError


class Torch:
    """The compiled operators run on the CPU, wherever the rest of a network runs."""

    name = "torch"

    def devices(self, gpus: str) -> list[Device]:
        return runtime.devices(gpus)

    def shapes(self, build: Build, **inputs: Shape) -> tuple[dict[str, Shape], dict[str, Shape]]:
        return shapes_of(build, **inputs)

    def network(self, build: Build, device: Device, args: Arrays, auxs: Arrays) -> runtime.Forward:
        return runtime.Forward(build, device, args, auxs)

    def trainer(
        self,
        build: Build,
        devices: Sequence[Device],
        args: Arrays,
        auxs: Arrays,
        trainable: Iterable[str],
        optimizer: Sgd | Adam,
    ) -> TrainStep:
        return TrainStep(build, devices, args, auxs, trainable, optimizer)

    def precision(self, kind: str, weights: str | Path) -> Precision:
        return precision_of(kind)

    def calibration(self) -> Calibration:
        raise InputError("calibration is for int8, which needs the MXNet backend (backend: mxnet)")
