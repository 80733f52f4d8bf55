"""Networks that run, and arrays on their devices."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lib.backends.base import Arrays, Build, Shape
from lib.backends.torch import cards
from lib.backends.torch.functions import TorchFunctions
from lib.backends.torch.graphs import Graphs
from lib.backends.torch.loader import Tensor, torch
from lib.backends.torch.memory import TESTING, enough_memory


def devices(gpus: str) -> list[torch.device]:
    """Devices for the `gpus` setting: '0,1' -> two GPUs; '' -> the CPU.

    Raises InputError for one that is missing, or that PyTorch has no kernels for.
    """
    if not gpus:
        return [torch.device("cpu")]
    numbers = [int(number) for number in gpus.split(",")]
    cards.check(numbers)
    return [torch.device("cuda", number) for number in numbers]


class TorchArray:
    """A tensor as a `lib.backends.base.Buffer`."""

    def __init__(self, values: Tensor):
        self.values = values

    @property
    def shape(self) -> Shape:
        return tuple(self.values.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values.cpu().numpy(), dtype)

    @torch.inference_mode()
    def clear(self) -> None:
        """Makes all values zero."""
        self.values.zero_()

    @torch.inference_mode()
    def write(self, rows: Sequence[int], values: TorchArray | np.ndarray) -> None:
        source = tensor_of(values, self.values.device)
        if isinstance(rows, range) and rows.step == 1:
            self.values[rows.start : rows.stop].copy_(source)
        else:
            for place, row in enumerate(rows):
                self.values[row].copy_(source[place])


def tensor_of(value: Any, device: torch.device) -> Tensor:
    """A tensor on the device, of the same memory where that is possible; float32 if it comes from the host.

    The way to a GPU is through pinned memory, which PyTorch keeps until the copy is done, and does not wait for it.
    """
    if isinstance(value, TorchArray):
        return value.values.to(device)
    host = _on_host(value)
    return host.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else host


def _on_host(value: Any) -> Tensor:
    return torch.from_numpy(np.require(np.asarray(value), np.float32, ["C", "W"]))


def fetch(outputs: Mapping[str, Any]) -> Callable[[], dict[str, np.ndarray]]:
    """See `lib.backends.base.Backend`. From a GPU, copies go to pinned memory, in the order of its work."""
    events = []
    arrays: dict[str, np.ndarray] = {}
    for name, output in outputs.items():
        if output.values.device.type == "cuda":
            host = torch.empty(output.shape, dtype=output.values.dtype, pin_memory=True)
            host.copy_(output.values, non_blocking=True)
            with torch.cuda.device(output.values.device):
                events.append(torch.cuda.current_stream().record_event())
            arrays[name] = host.numpy()
        else:
            arrays[name] = np.asarray(output)

    def wait() -> dict[str, np.ndarray]:
        for event in events:
            event.synchronize()
        return arrays

    return wait


def in_type(values: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Parameters by name, with those of convolutions in this type; `TorchFunctions` computes in it."""
    return {name: v.to(dtype) if name.endswith(("_weight", "_bias")) else v for name, v in values.items()}


class Forward:
    """Inference, a `lib.backends.base.Network`: `Forward(build, device, args, auxs)(data=...)`.

    args, auxs: parameters by name, not to be changed afterwards. graphs: whether a GPU runs the network as CUDA graphs.
    benchmark: whether cuDNN tries all its algorithms for them; it may choose other ones in another run. A call on a GPU
    returns before the network has run.
    """

    def __init__(
        self,
        build: Build,
        device: torch.device,
        args: Arrays,
        auxs: Arrays,
        *,
        graphs: bool = True,
        benchmark: bool = False,
    ):
        self._build, self._device = build, device
        with self._guarded():
            self._values = {name: _on_host(value).to(device) for name, value in {**args, **auxs}.items()}
        self._buffers: dict[str, TorchArray] = {}
        self._graphs = Graphs(self._run, benchmark=benchmark) if graphs and device.type == "cuda" else None

    def buffers(self, **shapes: Shape) -> dict[str, TorchArray]:
        """Buffers of zeros. Those of an earlier call are used again where they have this shape."""
        for name, shape in shapes.items():
            known = self._buffers.get(name)
            if known is not None and known.shape == tuple(shape):
                known.clear()
                continue
            self._buffers.pop(name, None)
            if self._graphs:
                self._graphs.clear()
            with self._guarded():
                self._buffers[name] = TorchArray(torch.zeros(shape, device=self._device))
        return {name: self._buffers[name] for name in shapes}

    @torch.inference_mode()
    def __call__(self, **inputs: Any) -> dict[str, TorchArray]:
        with self._guarded():
            tensors = {}
            for name, value in inputs.items():
                if name in self._buffers:
                    self._buffers[name].values.copy_(tensor_of(value, self._device))
                else:
                    tensors[name] = tensor_of(value, self._device)
            outputs = (self._graphs or self._run)(tensors)
        return {name: TorchArray(value) for name, value in outputs.items()}

    def _run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        buffers = {name: buffer.values for name, buffer in self._buffers.items()}
        outputs = self._build(self._functions({**self._values, **inputs, **buffers}))
        return {name: value.float() for name, value in outputs.items()}

    def _functions(self, values: Mapping[str, Tensor]) -> TorchFunctions:
        """One execution on these inputs and parameters."""
        return TorchFunctions(values, self._device)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Makes the GPU the current one. Raises InputError where its memory is used up."""
        if self._device.type == "cuda":
            with enough_memory(self._device, TESTING), torch.cuda.device(self._device):
                yield
        else:
            yield
