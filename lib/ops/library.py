"""The shared libraries of the compiled operators: where they are, and whether they match their sources.

`KERNELS` has only the plain C interface. `LIBRARY` is MXNet's: the same kernels, and their registration with MXNet.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from lib.errors import InputError

SOURCES = Path(__file__).parent / "src"
LIBRARY = Path(__file__).parent / "libfgfa_ops.so"
KERNELS = LIBRARY.with_name("libfgfa_kernels.so")
KERNEL_NAMES = ("warp", "psroi", "proposal", "aggregate")  # of the source files
BUILD_COMMAND = "python -m lib.ops.build"

_MARK = re.compile(rb"fgfa-build:([0-9a-f]+)-([0-9a-f]+);")


def sources_digest() -> str:
    """Digest of every C++ and CUDA source, names included."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        if path.suffix in (".h", ".cc", ".cu", ".cuh"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def build_mark(path: Path) -> tuple[str, str] | None:
    """(digest of the sources, digest of the settings) that `lib.ops.build` left in a library; None without a mark."""
    found = _MARK.search(path.read_bytes())
    return (found.group(1).decode(), found.group(2).decode()) if found else None


def checked() -> Path:
    """MXNet's library. Raises InputError where it was not built, or was built from other sources."""
    return _checked(LIBRARY)


def checked_kernels() -> Path:
    """The library of the plain C interface. Raises InputError as `checked` does."""
    return _checked(KERNELS)


def _checked(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: the compiled operators are not built; run `sh init.sh` or `{BUILD_COMMAND}`")
    mark = build_mark(path)
    if mark is None or mark[0] != sources_digest():
        raise InputError(f"{path}: built from other sources than {SOURCES}; run `{BUILD_COMMAND}`")
    return path
