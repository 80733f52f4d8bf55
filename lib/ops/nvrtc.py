"""Compiles the CUDA kernels of `lib/ops/src` at run time with NVRTC, NVIDIA's compiler library, which needs no GPU.

PyTorch's CUDA packages contain NVRTC, so users need no CUDA toolkit. The result is kept in the user's cache folder.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from lib.cuda import wheel_libraries
from lib.files import replacing
from lib.ops.build import FUSED
from lib.ops.library import SOURCES

log = logging.getLogger(__name__)

# NVRTC has no standard headers. It knows the functions of math.h itself.
_STANDARD = {
    "stdint.h": "typedef long long int64_t;\n",
    "math.h": "#define INFINITY __int_as_float(0x7f800000)\n",
}
_FAILURES = (OSError, AttributeError)  # no such library, or one without a function


class NvrtcError(Exception):
    """NVRTC is missing, or could not compile."""


class Nvrtc:
    """The NVRTC library of a CUDA version: "12.4", as in torch.version.cuda. Raises NvrtcError if there is none."""

    def __init__(self, version: str, folders: Sequence[str] = ()):
        self._library = _load(version, folders)
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        self.version = (major.value, minor.value)

    def architectures(self) -> list[int]:
        """Compute capabilities that it compiles for, as 75 for 7.5, in ascending order."""
        count = ctypes.c_int()
        self._check(self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
        found = (ctypes.c_int * count.value)()
        self._check(self._library.nvrtcGetSupportedArchs(found))
        return sorted(found)

    def target(self, capability: int) -> str:
        """The architecture to compile for on a GPU: its own, or for the driver to translate, the newest before it."""
        known = self.architectures()
        if capability in known:
            return f"sm_{capability}"
        older = [each for each in known if each < capability]
        if not older:
            raise NvrtcError(f"NVRTC {self.version[0]}.{self.version[1]} knows no compute capability below {known[0]}")
        return f"compute_{older[-1]}"

    def compile(self, name: str, target: str) -> bytes:
        """Machine code (sm_75) or PTX (compute_75) of the kernels in `<name>.cuh`. Raises NvrtcError with the log."""
        headers = {**_STANDARD, **{path.name: path.read_text() for path in _sources()}}
        options = self._options(name, target)
        program = ctypes.c_void_p()
        self._check(
            self._library.nvrtcCreateProgram(
                ctypes.byref(program),
                f'#include "{name}.cuh"\n'.encode(),
                f"{name}.cu".encode(),
                len(headers),
                _strings(list(headers.values())),
                _strings(list(headers)),
            )
        )
        try:
            failed = self._library.nvrtcCompileProgram(program, len(options), _strings(options))
            if failed:
                raise NvrtcError(f"{name}.cuh: NVRTC cannot compile it: {self._text(program, 'ProgramLog').decode()}")
            return self._text(program, "CUBIN" if target.startswith("sm_") else "PTX")
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def cached(self, name: str, target: str) -> bytes:
        """`compile`, or its result from an earlier run. A cache that cannot be used is logged and does no harm."""
        digest = hashlib.sha256(repr((self.version, self._options(name, target), _STANDARD)).encode())
        for path in _sources():
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        path = cache_folder() / f"{name}-{target}-{digest.hexdigest()[:32]}.bin"
        try:
            content = path.read_bytes()
            if hashlib.sha256(content[32:]).digest() == content[:32]:
                return content[32:]
            log.info("%s is damaged: compiling again", path)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.info("%s: cannot be read: %s", path, error.strerror)
        log.info("compiling %s.cuh for %s, once", name, target)
        code = self.compile(name, target)
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(hashlib.sha256(code).digest() + code)
        except OSError as error:
            log.warning("%s: cannot be written, so the kernels are compiled in every run: %s", path, error.strerror)
        return code

    def _options(self, name: str, target: str) -> list[str]:
        # The headers also declare the functions of the host, which NVRTC refuses unless it takes them for the device's.
        default = "--device-as-default-execution-space"
        fused = "true" if name in FUSED else "false"
        return [f"--gpu-architecture={target}", "--std=c++17", f"--fmad={fused}", default]

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        text = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._library, f"nvrtcGet{what}")(program, text))
        return text.raw

    def _check(self, status: int) -> None:
        if status:
            self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
            raise NvrtcError(f"NVRTC: {self._library.nvrtcGetErrorString(status).decode()}")


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/fgfa, else ~/.cache/fgfa."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "fgfa"


@functools.cache
def _load(version: str, folders: Sequence[str]) -> ctypes.CDLL:
    """That of the nvidia-* packages, else that of the system."""
    wheels = wheel_libraries(folders)
    major = version.split(".")[0]
    pattern = re.compile(rf"libnvrtc\.so\.{major}(\.\d+)*")
    found = [str(path) for name, path in wheels.items() if pattern.fullmatch(name)]
    for path in found:
        for helper in sorted(Path(path).parent.glob("libnvrtc-builtins.so*")):  # NVRTC looks only in the system's path
            ctypes.CDLL(str(helper))
    for path in [*found, f"libnvrtc.so.{major}", f"libnvrtc.so.{major}.2"]:  # CUDA 11's is libnvrtc.so.11.2
        try:
            library = ctypes.CDLL(path)
            library.nvrtcGetCUBIN  # noqa: B018  from CUDA 11.1
            return library
        except _FAILURES:
            continue
    raise NvrtcError(f"NVRTC for CUDA {version} is not installed (libnvrtc.so.{major} not found)")


def _sources() -> list[Path]:
    """Everything that the kernels include, and they."""
    return sorted([*SOURCES.glob("*.h"), *SOURCES.glob("*.cuh")])


def _strings(values: Sequence[str]) -> ctypes.Array:
    return (ctypes.c_char_p * len(values))(*(value.encode() for value in values))
