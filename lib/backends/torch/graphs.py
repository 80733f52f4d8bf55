"""CUDA graphs: the kernels of a network, recorded once for each set of input shapes and then queued with one call."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lib.backends.torch.loader import Tensor, torch

log = logging.getLogger(__name__)

Run = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
MOST = 8  # graphs of a network; the one that was not used for longest goes first
_WARM_UP = 2  # runs before recording, in which libraries choose their algorithms and allocate


class CaptureFailed(Exception):
    """The network does something that a graph cannot record."""


class Recording:
    """A network for inputs of these shapes. `inputs` and `outputs` always have the same memory."""

    def __init__(self, run: Run, inputs: Mapping[str, Tensor], pool: Any, benchmark: bool):
        """Raises CaptureFailed, but the network's own errors as they are. pool: memory shared with other recordings.

        benchmark: whether cuDNN tries all its algorithms.
        """
        self.inputs = {name: value.clone() for name, value in inputs.items()}
        side, here = torch.cuda.Stream(), torch.cuda.current_stream()
        with _benchmark(benchmark):
            side.wait_stream(here)
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    run(self.inputs)
            here.wait_stream(side)
            self._graph = torch.cuda.CUDAGraph()
            try:
                # Other threads may use the GPU meanwhile, for another detector.
                with torch.cuda.graph(self._graph, pool=pool, stream=side, capture_error_mode="thread_local"):
                    self.outputs = run(self.inputs)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise CaptureFailed(str(error).splitlines()[0]) from error

    def replay(self) -> None:
        self._graph.replay()


class Graphs:
    """Runs a network as CUDA graphs, one for each set of input shapes. Its outputs are valid until its next call.

    The graphs share one memory pool, which no other network uses, since a replay may overwrite what others keep there.
    Where recording fails, the network runs operator by operator from then on, with a warning.
    """

    def __init__(self, run: Run, *, benchmark: bool = False, record: Callable[..., Recording] = Recording):
        self._run, self._benchmark, self._record = run, benchmark, record
        self._recordings: dict[tuple, Recording] = {}
        self._pool: Any = None
        self._eager = False

    def clear(self) -> None:
        """For when memory that the network reads has moved."""
        self._recordings.clear()
        self._pool = None  # PyTorch refuses a pool that no graph uses any more

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self._eager:
            return self._run(inputs)
        key = tuple((name, tuple(value.shape), value.dtype) for name, value in sorted(inputs.items()))
        recording = self._recordings.pop(key, None)
        if recording is None:
            while len(self._recordings) >= MOST:
                self._recordings.pop(next(iter(self._recordings)))
            try:
                recording = self._record(self._run, inputs, self._memory(), self._benchmark)
            except CaptureFailed as error:
                log.warning("no CUDA graph, so this network runs slower: %s", error)
                self._eager = True
                self.clear()
                return self._run(inputs)
        self._recordings[key] = recording  # the last is the one used last
        for name, value in inputs.items():
            recording.inputs[name].copy_(value)
        recording.replay()
        return recording.outputs

    def _memory(self) -> Any:
        if self._pool is None and torch.cuda.is_available():
            self._pool = torch.cuda.graph_pool_handle()
        return self._pool


@contextlib.contextmanager
def _benchmark(on: bool) -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = on or before
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
