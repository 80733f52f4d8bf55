"""The one place that imports PyTorch: `from lib.backends.torch.loader import torch`.

Importing this checks PyTorch's version and sets its number of threads: OMP_NUM_THREADS, else every core of the process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from lib.errors import InputError
from lib.machine import cores

OLDEST = (2, 6)

if tuple(int(part) for part in torch.__version__.split(".")[:2]) < OLDEST:
    raise InputError(
        f"PyTorch {torch.__version__} is too old for backend: torch, which needs {OLDEST[0]}.{OLDEST[1]} or later; "
        "run pip install --upgrade torch"
    )

_threads = os.environ.get("OMP_NUM_THREADS", "")
torch.set_num_threads(int(_threads) if _threads.isdigit() and int(_threads) else cores())

if TYPE_CHECKING:
    Tensor = Any  # types are checked without PyTorch installed
else:
    Tensor = torch.Tensor

__all__ = ["Tensor", "torch"]
