"""The CUDA kernels compiled for the CPU, with `emulation/cuda.h` in place of CUDA."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.backends.torch.driver import packed
from lib.ops.build import FUSED, SOURCES, compiler
from lib.ops.library import KERNEL_NAMES

FOLDER = Path(__file__).parent / "emulation"


class Emulator:
    """A `lib.backends.torch.cuda.Launch` that runs each kernel at once, on tensors of the CPU."""

    def __init__(self, folder: Path, shared_limit: int = 90 * 1024):
        self.shared_limit = shared_limit
        self.launched: list[str] = []
        self._libraries = {name: ctypes.CDLL(str(compiled(name, folder))) for name in KERNEL_NAMES}

    def __call__(self, name: str, grid: Sequence[int], block: Sequence[int], shared: int, *arguments: Any) -> None:
        assert all(each is None or not hasattr(each, "is_contiguous") or each.is_contiguous() for each in arguments)
        self.launched.append(name)
        values, pointers = packed(arguments)
        sizes = [(ctypes.c_uint * 3)(*each, *[1] * (3 - len(each))) for each in (grid, block)]
        failed = self._libraries[name.split("_")[1]].emulate(name.encode(), *sizes, shared, pointers)
        assert not failed, f"no kernel {name}"
        del values


def compiled(name: str, folder: Path, *more: Path) -> Path:
    """A library of the kernels in `<name>.cuh`, and of more sources."""
    path = folder / f"{name}.so"
    if not path.exists():
        options = ["-std=c++17", "-O2", "-fPIC", "-shared", "-w", f"-ffp-contract={'fast' if name in FUSED else 'off'}"]
        defines = [f'-DKERNELS="{name}.cuh"', f"-DFGFA_{name}", f"-I{SOURCES}"]
        sources = [str(source) for source in (FOLDER / "kernels.cc", *more)]
        subprocess.run([compiler(), *options, *defines, *sources, "-o", str(path)], check=True)
    return path
