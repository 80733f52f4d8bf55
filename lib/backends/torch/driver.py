"""Loads kernels that NVRTC compiled, and launches them on PyTorch's streams, through the CUDA driver's C interface."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

from lib.backends.torch.loader import torch
from lib.cuda import DRIVER
from lib.ops.library import KERNEL_NAMES
from lib.ops.nvrtc import Nvrtc, NvrtcError

_SHARED_OPTIN = 97  # CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
_MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
# For the aggregation. All GPUs from sm_80 on allow it; with more, fewer blocks run at a time. sm_75 allows 64 KiB.
_SHARED_ENOUGH, _SHARED_STATIC = 90 * 1024, 2 * 1024


class DriverError(Exception):
    """A call of the CUDA driver failed."""


class Driver:
    """The kernels of this project on a GPU, a `lib.backends.torch.cuda.Launch`.

    Raises NvrtcError or DriverError where they cannot be compiled or loaded.
    """

    def __init__(self, device: torch.device):
        if torch.version.cuda is None:
            raise NvrtcError("this PyTorch is not built for CUDA")
        self._device = device
        major, minor = torch.cuda.get_device_capability(device)
        nvrtc = Nvrtc(torch.version.cuda)
        target = nvrtc.target(10 * major + minor)
        code = {name: nvrtc.cached(name, target) for name in KERNEL_NAMES}
        torch.empty(1, device=device)  # makes the context that PyTorch uses
        try:
            self._driver = ctypes.CDLL(DRIVER)
        except OSError as error:
            raise DriverError(f"{DRIVER}: {error}") from None
        self._context = ctypes.c_void_p()
        with torch.cuda.device(device):
            ordinal = ctypes.c_int()
            self._call("cuDeviceGet", ctypes.byref(ordinal), torch.cuda.current_device())
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), ordinal)
            self._make_current()
            limit = ctypes.c_int()
            self._call("cuDeviceGetAttribute", ctypes.byref(limit), _SHARED_OPTIN, ordinal)
            self.shared_limit = min(limit.value - _SHARED_STATIC, _SHARED_ENOUGH)
            self._modules = {name: self._load(code[name]) for name in KERNEL_NAMES}
        self._function = functools.cache(self._find)

    def __call__(self, name: str, grid: Sequence[int], block: Sequence[int], shared: int, *arguments: Any) -> None:
        values, pointers = packed(arguments)
        with torch.cuda.device(self._device):
            self._make_current()
            stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
            sizes = [*grid, *[1] * (3 - len(grid)), *block, *[1] * (3 - len(block)), shared]
            self._call(
                "cuLaunchKernel", self._function(name), *map(ctypes.c_uint, sizes), stream, pointers, None, label=name
            )
        del values  # until here the driver reads them

    def _make_current(self) -> None:
        """CUDA 11's runtime sets a thread's context only at its first own call."""
        current = ctypes.c_void_p()
        self._call("cuCtxGetCurrent", ctypes.byref(current))
        if current.value != self._context.value:
            self._call("cuCtxSetCurrent", self._context)

    def _load(self, code: bytes) -> ctypes.c_void_p:
        module = ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), code + b"\0")  # PTX ends with a zero
        return module

    def _find(self, name: str) -> ctypes.c_void_p:
        function = ctypes.c_void_p()
        module = self._modules[name.split("_")[1]]
        self._call("cuModuleGetFunction", ctypes.byref(function), module, name.encode(), label=name)
        if name.startswith("fgfa_aggregate_"):
            self._call("cuFuncSetAttribute", function, _MAX_DYNAMIC_SHARED, self.shared_limit, label=name)
        return function

    def _call(self, function: str, *arguments: Any, label: str = "") -> None:
        status = getattr(self._driver, function)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorName(status, ctypes.byref(text))
            name = text.value.decode() if text.value else str(status)
            raise DriverError(f"{label or 'kernels'}: {function}: {name}")


def packed(arguments: Sequence[Any]) -> tuple[list[Any], ctypes.Array]:
    """(values, their addresses), as `cuLaunchKernel` takes them. Tensors and None become addresses of memory."""
    values = [
        ctypes.c_void_p(each.data_ptr())
        if isinstance(each, torch.Tensor)
        else ctypes.c_void_p()
        if each is None
        else each
        for each in arguments
    ]
    return values, (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
