"""Inference and training with MXNet symbols. Only this module binds symbols."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lib.backends.base import ALONE, Adam, Build, Processes, Sgd, Shape
from lib.backends.mxnet.distributed import ParameterServer
from lib.backends.mxnet.functions import Operators
from lib.backends.mxnet.loader import mx
from lib.backends.mxnet.optimizers import Optimizer
from lib.errors import InputError


def devices(gpus: str) -> list:
    """MXNet contexts for the `gpus` setting: '0,1' -> two GPUs; '' -> the CPU. Raises InputError if one is missing."""
    if not gpus:
        return [mx.cpu()]
    numbers = [int(number) for number in gpus.split(",")]
    present = mx.context.num_gpus() if mx.runtime.Features().is_enabled("CUDA") else 0
    for number in numbers:
        if number >= present:
            raise InputError(
                f"gpus: there is no GPU {number}, MXNet sees {present}; use gpus: '' (--set gpus=) for the CPU"
            )
    return [mx.gpu(number) for number in numbers]


def symbol_of(build: Build, functions: Operators) -> Any:
    """The symbol of a network, with its outputs in order."""
    outputs = list(build(functions).values())
    return outputs[0] if len(outputs) == 1 else mx.sym.Group(outputs)


def shapes_of(symbol: Any, **inputs: Shape) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Shapes of a symbol's parameters (args, auxs) for these shapes of its inputs; unknown inputs are ignored."""
    names = symbol.list_arguments()
    arg_shapes, _, aux_shapes = symbol.infer_shape(**{name: inputs[name] for name in names if name in inputs})
    args = {name: shape for name, shape in zip(names, arg_shapes) if name not in inputs}
    return args, dict(zip(symbol.list_auxiliary_states(), aux_shapes))


def output_names(symbol: Any) -> list[str]:
    """Names of a symbol's outputs, without the suffix `_output` that MXNet appends."""
    return [name.removesuffix("_output") for name in symbol.list_outputs()]


def as_arrays(values: Mapping[str, Any]) -> dict:
    """numpy or NDArray -> NDArray on the CPU."""
    return {k: v if isinstance(v, mx.nd.NDArray) else mx.nd.array(v, dtype=v.dtype) for k, v in values.items()}


class DeviceArray:
    """An NDArray as a `lib.backends.base.Buffer`."""

    def __init__(self, values: Any):
        self.values = values

    @property
    def shape(self) -> Shape:
        return self.values.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.values.asnumpy(), dtype)

    def write(self, rows: Sequence[int], values: Any) -> None:
        values = values.values if isinstance(values, DeviceArray) else values
        first, stop = rows[0], rows[-1] + 1
        if list(rows) == list(range(first, stop)):
            self.values[first:stop] = values
            return
        for place, row in enumerate(rows):
            if isinstance(values, mx.nd.NDArray):  # not values[place]: some layouts of oneDNN allow no views
                self.values[row : row + 1] = mx.nd.slice_axis(values, axis=0, begin=place, end=place + 1)
            else:
                self.values[row] = values[place]


class _Bound:
    """A symbol bound to a device. It is bound again over the same memory when the shapes of its inputs change."""

    def __init__(self, symbol, context, args: Mapping, auxs: Mapping, grad_req: Mapping[str, str] | str):
        self._symbol, self._context, self._grad_req = symbol, context, grad_req
        self._args, self._auxs = args, auxs
        self._executor: Any = None
        self._shapes: dict[str, tuple] = {}

    def executor(self, shapes: Mapping[str, tuple]):
        """The executor for these input shapes; other inputs keep their shapes."""
        shapes = {**self._shapes, **shapes}
        if self._executor is None:
            self._executor = self._symbol.simple_bind(self._context, grad_req=self._grad_req, **shapes)
            self._executor.copy_params_from(self._args, self._auxs)
            self._args = self._auxs = {}
        elif shapes != self._shapes:
            self._executor = self._executor.reshape(allow_up_sizing=True, **shapes)
        self._shapes = shapes
        return self._executor

    def fill(self, inputs: Mapping):
        """The executor, with `inputs` copied into it."""
        executor = self.executor({name: tuple(value.shape) for name, value in inputs.items()})
        for name, value in inputs.items():
            executor.arg_dict[name][:] = value.values if isinstance(value, DeviceArray) else value
        return executor


class Forward:
    """Inference, a `lib.backends.base.Network`: `Forward(symbol, context, args, auxs)(data=...)`.

    args, auxs: parameters by name; unknown ones are ignored. watch: called with the name and the handle of every array
    inside the network, at each call.
    """

    def __init__(self, symbol, context, args: Mapping, auxs: Mapping, watch: Callable | None = None):
        self.outputs = output_names(symbol)
        self._bound = _Bound(
            symbol,
            context,
            as_arrays(_named(symbol.list_arguments(), args)),
            as_arrays(_named(symbol.list_auxiliary_states(), auxs)),
            "null",
        )
        self._watch = watch

    def buffers(self, **shapes: tuple) -> dict[str, DeviceArray]:
        executor = self._bound.executor(shapes)
        return {name: DeviceArray(executor.arg_dict[name]) for name in shapes}

    def __call__(self, **inputs) -> dict[str, DeviceArray]:
        executor = self._bound.fill(inputs)
        if self._watch:
            executor.set_monitor_callback(self._watch, monitor_all=True)
        return dict(zip(self.outputs, map(DeviceArray, executor.forward(is_train=False))))


class TrainStep:
    """Training on one or more devices, a `lib.backends.base.Trainer`.

    Parameters that are not `trainable` do not change, nor do auxiliary states that the symbol does not update.
    """

    def __init__(
        self,
        symbol,
        contexts: Sequence,
        args: Mapping,
        auxs: Mapping,
        trainable: Iterable[str],
        optimizer: Sgd | Adam,
        *,
        processes: Processes = ALONE,
    ):
        self.outputs, self._processes = output_names(symbol), processes
        self._optimizer = Optimizer(optimizer)
        chosen = set(trainable)
        self._trainable = [name for name in symbol.list_arguments() if name in chosen]
        self._names = [name for name in symbol.list_arguments() if name in args]
        grad_req = {name: "write" if name in chosen else "null" for name in symbol.list_arguments()}
        args, auxs = as_arrays(_named(self._names, args)), as_arrays(auxs)
        self._bounds = [_Bound(symbol, context, args, auxs, grad_req) for context in contexts]
        self._initial = (args, auxs)
        self._context = contexts[0]
        self._averages: dict[str, Any] = {}
        self._executors: list = []

    def step(self, batches: Sequence[Mapping[str, np.ndarray]], lr: float) -> list[dict[str, np.ndarray]]:
        if len(batches) != len(self._bounds):
            raise ValueError(f"{len(batches)} batches for {len(self._bounds)} devices")
        self._executors = [bound.fill(batch) for bound, batch in zip(self._bounds, batches)]
        for executor in self._executors:
            executor.forward(is_train=True)
            executor.backward()
        first, *others = self._executors
        grads = {name: first.grad_dict[name] for name in self._trainable}
        if isinstance(self._processes, ParameterServer):
            self._processes.add_up(
                {name: [executor.grad_dict[name] for executor in self._executors] for name in self._trainable}
            )
        else:
            for executor in others:
                for name, total in grads.items():
                    total += executor.grad_dict[name].as_in_context(total.context)
        self._optimizer.update({name: first.arg_dict[name] for name in self._trainable}, grads, lr)
        for executor in others:
            for name in self._trainable:
                first.arg_dict[name].copyto(executor.arg_dict[name])
        return [
            {name: output.asnumpy() for name, output in zip(self.outputs, executor.outputs)}
            for executor in self._executors
        ]

    def params(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        args, auxs = self._initial
        if self._executors:
            executor = self._executors[0]
            args, auxs = _named(self._names, executor.arg_dict), executor.aux_dict
        return _as_numpy(args), _as_numpy(auxs)

    def gradients(self) -> dict[str, np.ndarray]:
        return {name: self._executors[0].grad_dict[name].asnumpy() for name in self._trainable}

    def state(self) -> dict[str, np.ndarray]:
        return self._optimizer.state()

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self._optimizer.load_state(state)

    def average(self, decay: float) -> None:
        for name in self._trainable:
            weight = self._executors[0].arg_dict[name]
            if name in self._averages:
                self._averages[name] += (1 - decay) * (weight - self._averages[name])
            else:
                self._averages[name] = weight.copy()

    def averages(self) -> dict[str, np.ndarray]:
        return _as_numpy(self._averages)

    def load_averages(self, averages: Mapping[str, np.ndarray]) -> None:
        self._averages = {
            name: mx.nd.array(value, self._context, dtype=value.dtype) for name, value in averages.items()
        }


def _as_numpy(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: value.asnumpy() for name, value in values.items()}


def _named(names: Iterable[str], values: Mapping) -> dict:
    return {name: values[name] for name in names if name in values}
