"""MXNet as a `lib.backends.base.Backend`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lib.backends.base import ALONE, Adam, Array, Arrays, Build, Device, Processes, Sgd, Shape
from lib.backends.mxnet import distributed, runtime
from lib.backends.mxnet import precision as precisions
from lib.backends.mxnet.functions import OPERATORS
from lib.errors import InputError


class MXNet:
    """operators: "compiled" for those of `lib.ops`, "builtin" for compositions of MXNet's own. kvstore: the setting."""

    name = "mxnet"

    def __init__(self, operators: str = "compiled", kvstore: str = "device"):
        self.functions, self._kvstore = OPERATORS[operators](), kvstore

    def devices(self, gpus: str) -> list[Device]:
        return runtime.devices(gpus)

    def shapes(self, build: Build, **inputs: Shape) -> tuple[dict[str, Shape], dict[str, Shape]]:
        return runtime.shapes_of(runtime.symbol_of(build, self.functions), **inputs)

    def network(self, build: Build, device: Device, args: Arrays, auxs: Arrays) -> runtime.Forward:
        outputs = build(self.functions)
        network = runtime.Forward(runtime.symbol_of(lambda _: outputs, self.functions), device, args, auxs)
        network.outputs = list(outputs)  # the symbol's own names may differ
        return network

    def processes(self, gpus: str) -> Processes:
        return distributed.processes(lambda: self.devices(gpus), self._kvstore)

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
    ) -> runtime.TrainStep:
        if precision != "float32":
            raise InputError(f"TRAIN.PRECISION: {precision} needs backend: torch; MXNet trains in float32")
        symbol = runtime.symbol_of(build, self.functions)
        return runtime.TrainStep(symbol, devices, args, auxs, trainable, optimizer, processes=processes)

    def precision(self, kind: str, weights: str | Path) -> precisions.Precision:
        return precisions.precision_of(kind, weights, self.functions)

    def calibration(self) -> precisions.Calibration:
        return precisions.Calibration(self.functions)

    def overlaps(self, device: Device) -> bool:
        return False

    def fetch(self, outputs: Mapping[str, Array]) -> Callable[[], dict[str, np.ndarray]]:
        arrays = {name: np.asarray(value) for name, value in outputs.items()}
        return lambda: arrays
