"""What the tests of the compiled operators share: golden arrays, differences, the plain C interface."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from bench.operators_reference import structure
from lib.ops.library import LIBRARY

GOLDEN = Path(__file__).parents[1] / "data" / "operators.npz"


def golden(name: str) -> np.ndarray:
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        return arrays[name]


def numeric_gradient(function, at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of a scalar function of one array, in float64."""
    gradient = np.zeros(at.shape)
    for index in np.ndindex(*at.shape):
        high, low = at.astype(np.float64), at.astype(np.float64)
        high[index] += step
        low[index] -= step
        gradient[index] = (function(high) - function(low)) / (2 * step)
    return gradient


class Kernels:
    """The plain C interface of a library, with arrays for pointers; `threads` is OpenMP's number for this thread."""

    def __init__(self, threads: int) -> None:
        self.library = ctypes.CDLL(str(LIBRARY))
        self.library.omp_set_num_threads(threads)

    def call(self, name: str, shape: tuple, *arrays: np.ndarray | None) -> None:
        """`shape` are the fields of the C structure, see `structure`."""
        filled, _ = structure(shape)
        pointers = [None if a is None else a.ctypes.data_as(ctypes.c_void_p) for a in arrays]
        function = getattr(self.library, name)
        function.restype = None
        function(ctypes.byref(filled), *pointers)
