"""The boundary between this project and the engine that executes its networks.

A network is a function of `F` (`lib.backends.functions`): it calls operators under MXNet's names and returns its
outputs by name. Code above this package uses only these protocols. To add an engine, add a package next to `mxnet` that
implements `Backend`, and follow "Adding a backend" in docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from lib.backends.functions import Functions

Shape = tuple[int, ...]
Arrays = Mapping[str, np.ndarray]
Device = Any  # a backend's own handle, returned by `Backend.devices`


# A network: returns its outputs by name, in order.
Build = Callable[[Functions], Mapping[str, Any]]


class Array(Protocol):
    """An array in the memory of a device. `numpy.asarray` copies it to the host."""

    @property
    def shape(self) -> Shape: ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray: ...


class Buffer(Array, Protocol):
    """An input of a network that stays on the device between calls."""

    def write(self, rows: Sequence[int], values: Array | np.ndarray) -> None:
        """Writes values[i] to row rows[i] of the first dimension. The network reads them at its next call."""


class Network(Protocol):
    """A network with its parameters, ready to run on one device."""

    def __call__(self, **inputs: np.ndarray | Array) -> Mapping[str, Array]:
        """Returns the outputs by name, valid until the next call. Buffers that are not passed keep their values."""

    def buffers(self, **shapes: Shape) -> Mapping[str, Buffer]:
        """Turns inputs into buffers with these shapes."""


class Processes(Protocol):
    """The processes that train together, on one machine or several: this one is number `rank`, from 0, of `count`.

    devices: those that this process trains on. All processes have the same number of them. A context manager, which
    ends the connection to the others; after an exception, they end too.
    """

    @property
    def rank(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def devices(self) -> Sequence[Device]: ...

    def total(self, values: np.ndarray) -> np.ndarray:
        """The sum of a float64 array over all processes. Waits for all of them.

        Raises InputError if one of them has ended.
        """

    def share(self, content: bytes) -> bytes:
        """What the first process passed. Waits for all of them and raises InputError as `total` does."""

    def __enter__(self) -> Processes: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class Alone:
    """A single process as `Processes`."""

    devices: Sequence[Device] = ()
    rank: int = 0
    count: int = 1

    def total(self, values: np.ndarray) -> np.ndarray:
        return values

    def share(self, content: bytes) -> bytes:
        return content

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to do."""


ALONE = Alone()


class Trainer(Protocol):
    """A network in training, on one or more devices, in one or more processes."""

    def step(self, batches: Sequence[Arrays], lr: float) -> list[dict[str, np.ndarray]]:
        """One step with a batch for each device of this process; gradients are summed over all devices of all
        processes, not averaged.

        Returns the outputs of each device by name, from before the update. Raises ValueError unless there is one batch
        for each device.
        """

    def params(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """(args, auxs): the current parameters and auxiliary states; the states are those of the first device, so only
        the first process has the current ones."""

    def gradients(self) -> dict[str, np.ndarray]:
        """Gradients of the last step, summed over devices and processes."""

    def state(self) -> dict[str, np.ndarray]:
        """The optimizer's state. After `load_state`, training continues exactly."""

    def load_state(self, state: Arrays) -> None: ...

    def average(self, decay: float) -> None:
        """After a step, moves the averages of the trained parameters towards them: each becomes decay * average +
        (1 - decay) * parameter. The first call copies the parameters."""

    def averages(self) -> dict[str, np.ndarray]:
        """The averages by name; empty before the first call of `average`."""

    def load_averages(self, averages: Arrays) -> None: ...


def _same_rate(name: str) -> float:
    return 1.0


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum.

    wd: weight decay, only on parameters named `_weight` and `_gamma`. lr_factor: maps the name of a parameter to a
    factor of its learning rate. clip_norm: limit on the L2 norm of all gradients together; 0 for none.
    """

    momentum: float = 0.9
    wd: float = 0.0
    lr_factor: Callable[[str], float] = _same_rate
    clip_norm: float = 0.0


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015) with bias correction; wd, lr_factor and clip_norm as in `Sgd`."""

    beta1: float = 0.9
    beta2: float = 0.999
    wd: float = 0.0
    lr_factor: Callable[[str], float] = _same_rate
    clip_norm: float = 0.0


class Precision(Protocol):
    """The number format that a detector's convolutional networks run in."""

    def network(self, name: str, build: Build, device: Device, args: Arrays, auxs: Arrays) -> Network:
        """The detector's network `name` ("features" or "flow"): convolutions, float32 in and out."""


def ranges_path(weights: str | Path) -> Path:
    """The file of the ranges that int8 needs: fgfa-0000.params -> fgfa-0000.int8.json."""
    return Path(weights).with_suffix(".int8.json")


class Calibration(Precision, Protocol):
    """Float32 networks that record the ranges that int8 needs."""

    def save(self, weights: str | Path) -> Path:
        """Writes the recorded ranges next to the weights and returns the path."""


class Backend(Protocol):
    """An execution engine."""

    name: str

    def devices(self, gpus: str) -> list[Device]:
        """Devices for the `gpus` setting: "0,1" two GPUs, "" the CPU. Raises InputError if a GPU is missing."""

    def shapes(self, build: Build, **inputs: Shape) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """Shapes of a network's parameters (args, auxs) for these inputs; unknown inputs are ignored."""

    def network(self, build: Build, device: Device, args: Arrays, auxs: Arrays) -> Network:
        """A network for inference in float32; unknown parameters are ignored."""

    def processes(self, gpus: str) -> Processes:
        """The processes of a training, each on devices of its machine's `gpus` setting: those that the environment
        names (`lib.machine.launch`), or only this one.

        Processes that only serve the others stay here until the training is over, then raise SystemExit. Raises
        InputError if a GPU is missing, or the backend cannot train that way.
        """

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
    ) -> Trainer:
        """A network to train; parameters not in `trainable` do not change.

        devices: of this process. precision: `TRAIN.PRECISION`. Raises InputError if it is not available there.
        """

    def precision(self, kind: str, weights: str | Path) -> Precision:
        """The precision of a `TEST.PRECISION`. Raises InputError if it is not available here or for these weights."""

    def calibration(self) -> Calibration: ...

    def overlaps(self, device: Device) -> bool:
        """Whether a network's call returns before it has run, so that the host can work meanwhile."""

    def fetch(self, outputs: Mapping[str, Array]) -> Callable[[], dict[str, np.ndarray]]:
        """Starts to copy a network's outputs to the host; the returned function waits for them, at any later time."""
