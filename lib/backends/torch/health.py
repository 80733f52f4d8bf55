"""Information about the installed PyTorch, and a test that it works, for `lib.doctor`."""

from __future__ import annotations

from typing import NamedTuple

from lib.backends.torch.loader import torch
from lib.backends.torch.precision import computes_bfloat16


class Engine(NamedTuple):
    """file: path of the package. cuda: version that it was built with, or "". instructions: those of the processor that
    it uses. bfloat16: whether `TEST.PRECISION: bfloat16` works on the CPU.
    """

    version: str
    file: str
    cuda: str
    instructions: str
    threads: int
    bfloat16: bool


def engine() -> Engine:
    return Engine(
        version=torch.__version__,
        file=torch.__file__,
        cuda=torch.version.cuda or "",
        instructions=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        bfloat16=computes_bfloat16(torch.device("cpu")),
    )


def adds_up() -> bool:
    """Whether a small convolution on the CPU gives the right result."""
    ones = torch.ones((1, 1, 4, 4))
    return bool((torch.nn.functional.conv2d(ones, torch.ones((1, 1, 3, 3))) == 9).all())
