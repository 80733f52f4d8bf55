"""The one place that imports PyTorch: `from lib.backends.torch.loader import torch`.

Importing this checks PyTorch's version, sets its number of threads (OMP_NUM_THREADS, else every core of the process),
and makes float32 exact on GPUs, where PyTorch would round the inputs of convolutions to TF32, with 10 bits of mantissa.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from lib.errors import InputError
from lib.machine import cores

# Read when OpenMP is loaded: how long a thread that has finished its part of an operator spins before it sleeps. By
# default it spins so long that, on a processor which runs other work as well, every operator loses a time slice of the
# scheduler; sleeping at once makes the small operators of a training step slower.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch

OLDEST = (2, 6)

if tuple(int(part) for part in torch.__version__.split(".")[:2]) < OLDEST:
    raise InputError(
        f"PyTorch {torch.__version__} is too old for backend: torch, which needs {OLDEST[0]}.{OLDEST[1]} or later; "
        "run pip install --upgrade torch"
    )

_threads = os.environ.get("OMP_NUM_THREADS", "")
torch.set_num_threads(int(_threads) if _threads.isdigit() and int(_threads) else cores())

torch.backends.cudnn.allow_tf32 = False
torch.backends.cuda.matmul.allow_tf32 = False

if TYPE_CHECKING:
    Tensor = Any  # types are checked without PyTorch installed
else:
    Tensor = torch.Tensor

__all__ = ["Tensor", "torch"]
