"""How the rest of the engine talks to a network: named arrays in, named arrays out.

`Forward` runs a symbol, `TrainStep` also takes a step of the optimizer. Nothing else in the project binds a symbol,
so another engine for the same symbols replaces this file alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lib.backends.mxnet.loader import mx
from lib.backends.mxnet.optimizers import Optimizer
from lib.errors import InputError


def devices(gpus: str) -> list:
    """MXNet contexts for the `gpus` setting: '0,1' -> two GPUs; '' -> the CPU. Raises InputError for a missing one."""
    if not gpus:
        return [mx.cpu()]
    numbers = [int(number) for number in gpus.split(",")]
    present = mx.context.num_gpus() if mx.runtime.Features().is_enabled("CUDA") else 0
    for number in numbers:
        if number >= present:
            raise InputError(
                f"gpus: this MXNet has no GPU {number}, it sees {present}; use gpus: '' (--set gpus=) for the CPU"
            )
    return [mx.gpu(number) for number in numbers]


def device(gpus: str, number: int):
    """The context for worker `number`: the devices of the setting in turn, so that several may share the CPU."""
    contexts = devices(gpus)
    return contexts[number % len(contexts)]


class _Bound:
    """A symbol bound on one device; bound anew, over the same memory, when the shapes of its inputs change."""

    def __init__(self, symbol, context, args: Mapping, auxs: Mapping, grad_req: Mapping[str, str] | str):
        self._symbol, self._context, self._grad_req = symbol, context, grad_req
        self._args, self._auxs = args, auxs
        self._executor = None
        self._shapes: dict[str, tuple] = {}

    def executor(self, shapes: Mapping[str, tuple]):
        """The executor for these shapes of inputs; inputs not named keep the shapes they have."""
        shapes = {**self._shapes, **shapes}
        if self._executor is None:
            self._executor = self._symbol.simple_bind(self._context, grad_req=self._grad_req, **shapes)
            self._executor.copy_params_from(self._args, self._auxs)
            self._args = self._auxs = None
        elif shapes != self._shapes:
            self._executor = self._executor.reshape(allow_up_sizing=True, **shapes)
        self._shapes = shapes
        return self._executor

    def fill(self, inputs: Mapping):
        """The executor with `inputs` (numpy or NDArray) copied in."""
        executor = self.executor({name: tuple(value.shape) for name, value in inputs.items()})
        for name, value in inputs.items():
            executor.arg_dict[name][:] = value
        return executor


def as_arrays(values: Mapping[str, np.ndarray]) -> dict:
    """numpy or NDArray -> NDArray on the CPU."""
    return {k: v if isinstance(v, mx.nd.NDArray) else mx.nd.array(v, dtype=v.dtype) for k, v in values.items()}


class Forward:
    """Inference: `Forward(symbol, context, args, auxs)(data=…) -> {output name: NDArray}`.

    args, auxs: parameters by name; those that the symbol does not use are left out. The arrays returned are valid
    until the next call. watch: called with the name and the handle of every array inside, at each call.
    """

    def __init__(self, symbol, context, args: Mapping, auxs: Mapping, watch: Callable | None = None):
        self.outputs = symbol.list_outputs()
        arguments, kept = set(symbol.list_arguments()), set(symbol.list_auxiliary_states())
        self._bound = _Bound(
            symbol,
            context,
            as_arrays({name: value for name, value in args.items() if name in arguments}),
            as_arrays({name: value for name, value in auxs.items() if name in kept}),
            "null",
        )
        self._watch = watch

    def inputs(self, **shapes: tuple) -> dict:
        """Binds for these shapes and gives the input arrays themselves, to be written in place between calls."""
        executor = self._bound.executor(shapes)
        return {name: executor.arg_dict[name] for name in shapes}

    def __call__(self, **inputs) -> dict:
        executor = self._bound.fill(inputs)
        if self._watch:
            executor.set_monitor_callback(self._watch, monitor_all=True)
        return dict(zip(self.outputs, executor.forward(is_train=False)))


class TrainStep:
    """One step of training on one or more devices: `step(batches, lr)`, a batch a device.

    Gradients are summed over the devices, not averaged. trainable: names of the parameters that the optimizer may
    change; the others, and the auxiliary states unless the symbol updates them, stay as they are.
    """

    def __init__(
        self, symbol, contexts: Sequence, args: Mapping, auxs: Mapping, trainable: set[str], optimizer: Optimizer
    ):
        self.outputs = symbol.list_outputs()
        self.optimizer = optimizer
        self._trainable = [name for name in symbol.list_arguments() if name in trainable]
        self._names = [name for name in symbol.list_arguments() if name in args]
        grad_req = {name: "write" if name in trainable else "null" for name in symbol.list_arguments()}
        args, auxs = as_arrays({name: args[name] for name in self._names}), as_arrays(auxs)
        self._bounds = [_Bound(symbol, context, args, auxs, grad_req) for context in contexts]
        self._initial = (args, auxs)
        self._executors: list = []

    def step(self, batches: Sequence[Mapping[str, np.ndarray]], lr: float) -> list[dict[str, np.ndarray]]:
        """Takes a step; -> for each device the outputs of the symbol, before the step."""
        if len(batches) != len(self._bounds):
            raise ValueError(f"{len(batches)} batches for {len(self._bounds)} devices")
        self._executors = [bound.fill(batch) for bound, batch in zip(self._bounds, batches)]
        for executor in self._executors:
            executor.forward(is_train=True)
            executor.backward()
        first, *others = self._executors
        grads = {}
        for name in self._trainable:
            grads[name] = first.grad_dict[name]
            for executor in others:
                grads[name] += executor.grad_dict[name].as_in_context(grads[name].context)
        self.optimizer.update({name: first.arg_dict[name] for name in self._trainable}, grads, lr)
        for executor in others:
            for name in self._trainable:
                first.arg_dict[name].copyto(executor.arg_dict[name])
        return [
            {name: output.asnumpy() for name, output in zip(self.outputs, executor.outputs)}
            for executor in self._executors
        ]

    def params(self) -> tuple[dict, dict]:
        """(args, auxs) as NDArrays of the first device, before any step those given."""
        if not self._executors:
            return self._initial
        executor = self._executors[0]
        return {name: executor.arg_dict[name] for name in self._names}, dict(executor.aux_dict)

    def gradients(self) -> dict[str, np.ndarray]:
        """Gradients of the last step, summed over devices."""
        return {name: self._executors[0].grad_dict[name].asnumpy() for name in self._trainable}

    def state(self) -> dict[str, np.ndarray]:
        """The optimizer's memory, to go on from exactly here."""
        return self.optimizer.state()

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.optimizer.load_state(state)
