"""MXNet's `.params` files in numpy, without MXNet.

A file is little endian throughout:

    uint64 0x112, uint64 0, uint64 number of arrays, the arrays, uint64 number of names, the names
    name     uint64 length in bytes, UTF-8
    array    uint32 version, then by version:
             V3, V2   int32 storage type (0 is dense), int32 ndim, int64 dims
             V1       uint32 ndim, int64 dims
             older    the version is ndim itself, uint32 dims
             and for all: int32 device type, int32 device id, int32 type code, the values in C order

MXNet 1.9.1 writes V2, or V3 under numpy's shape semantics, where an array may be a scalar. V1 and the
older layout come from earlier releases.
"""

from __future__ import annotations

import math
import os
import struct
import sys
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path

import numpy as np

from lib.errors import InputError, quoted
from lib.files import replacing

MAGIC = 0x112
START = struct.pack("<2Q", MAGIC, 0)
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
TYPES = {
    code: np.dtype(name) for code, name in enumerate(("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "bool"))
}  # by type code
CODES = {dtype: code for code, dtype in TYPES.items()}
BFLOAT16 = 12  # numpy has no such type
MAX_NDIM = 32  # numpy 1's limit
CPU, DENSE = 1, 0


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Arrays by name as stored (such as `arg:conv1_weight`), in the file's order, shapes and types.

    Every array owns its memory and is writable. The device that an array was saved from is ignored.

    Raises InputError if there is no such file, if it is malformed or cut short, or if it holds arrays that are sparse,
    bfloat16 or without names. Nothing is allocated that the file is too small to fill.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            return _Reader(path, file).read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the file and its permissions") from error


def write(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name, byte for byte as `mx.nd.save` does; a reader never sees half a file.

    Raises InputError for an array that MXNet could not load again: a scalar, or a type not in `TYPES`.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<3Q", MAGIC, 0, len(arrays)))
        for name, array in arrays.items():
            array = np.asarray(array)
            dtype = array.dtype.newbyteorder("<")
            if dtype not in CODES or not 1 <= array.ndim <= MAX_NDIM:
                raise InputError(
                    f"{path}: cannot store array {name!r} of type {array.dtype} and shape {array.shape}; "
                    f"convert it to 1 to {MAX_NDIM} dimensions of {', '.join(each.name for each in CODES)}"
                )
            file.write(struct.pack(f"<IiI{array.ndim}q", V2, DENSE, array.ndim, *array.shape))
            file.write(struct.pack("<3i", CPU, 0, CODES[dtype]))
            file.write(np.ascontiguousarray(array, dtype).data)
        file.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            file.write(struct.pack("<Q", len(name.encode())) + name.encode())


class _Reader:
    """Reads an open file from its start, and checks every size against what is left of the file."""

    def __init__(self, path: Path, file: BufferedReader):
        self.path = path
        self.file = file
        self.left = os.fstat(file.fileno()).st_size  # bytes not yet read

    def read(self) -> dict[str, np.ndarray]:
        # MXNet ignores the reserved word; every writer sets it to 0.
        if self.left < 24 or self.numbers("2Q") != (MAGIC, 0):
            raise self.malformed("its header is missing")
        (count,) = self.numbers("Q")
        # `count` cannot be trusted, so the list grows as the arrays are read.
        arrays: list[np.ndarray] = []
        while len(arrays) < count:
            arrays.append(self.array(f"array {len(arrays) + 1} of {count}"))
        (named,) = self.numbers("Q")
        if count and not named:
            raise InputError(f"{self.path}: contains arrays without names; expected names like arg:conv1_weight")
        if named != count:
            raise self.malformed(f"{count} arrays but {named} names")
        stored = {}
        for values in arrays:
            name = self.name()
            if name in stored:
                raise self.malformed(f"two arrays named {quoted(name)}")
            stored[name] = values
        if self.left:
            raise self.malformed(f"{self.left} bytes too many at its end")
        return stored

    def array(self, which: str) -> np.ndarray:
        (version,) = self.numbers("I")
        if version in (V2, V3):
            (storage,) = self.numbers("i")
            if storage != DENSE:
                raise self.unsupported(which, f"sparse (storage type {storage})")
        if version in (V1, V2, V3):
            (ndim,) = self.numbers("i")
            size = "q"
        else:
            ndim, size = version, "I"
        # Without numpy's shape semantics ndim 0 means a unknown shape, which MXNet does not load.
        if not (0 if version == V3 else 1) <= ndim <= MAX_NDIM:
            raise self.malformed(f"{which} has {ndim} dimensions")
        shape = self.numbers(f"{ndim}{size}")
        _, _, code = self.numbers("3i")
        if code == BFLOAT16:
            raise self.unsupported(which, "bfloat16")
        if code not in TYPES:
            raise self.malformed(f"{which} has the unknown type code {code}")
        dtype = TYPES[code]
        # numpy rejects such a shape even if another dimension is 0 and the array is empty.
        if min(shape, default=0) < 0 or math.prod(max(each, 1) for each in shape) * dtype.itemsize > sys.maxsize:
            raise self.malformed(f"{which} has the impossible shape {shape}")
        self.take(math.prod(shape) * dtype.itemsize)
        values = np.empty(shape, dtype)
        if self.file.readinto(values.data) != values.nbytes:
            raise self.cut_short()
        if code == CODES[np.dtype(bool)] and values.view(np.uint8).max(initial=0) > 1:
            raise self.malformed(f"{which} is bool but holds other values than 0 and 1")
        return values

    def name(self) -> str:
        (length,) = self.numbers("Q")
        try:
            return self.content(length).decode()
        except UnicodeDecodeError:
            raise self.malformed("a name is not UTF-8") from None

    def numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(f"<{layout}", self.content(struct.calcsize(f"<{layout}")))

    def content(self, count: int) -> bytes:
        self.take(count)
        content = self.file.read(count)
        if len(content) != count:
            raise self.cut_short()
        return content

    def take(self, count: int) -> None:
        if count > self.left:
            raise self.cut_short()
        self.left -= count

    def cut_short(self) -> InputError:
        return self.malformed("cut short")

    def malformed(self, why: str) -> InputError:
        return InputError(f"{self.path}: not an MXNet parameter file ({why}); download or write it again")

    def unsupported(self, which: str, what: str) -> InputError:
        return InputError(f"{self.path}: {which} is {what}, which is not supported; save it as dense float32")
