"""MXNet's parameter files, put together byte by byte."""

from __future__ import annotations

import struct

import numpy as np

from lib.nets.params_file import V1, V2


def values(shape, dtype="float32", seed=0):
    """Integers from -100 to 99, as far as the type holds them."""
    return np.random.default_rng(seed).integers(-100, 100, shape).astype(dtype)


def header(version, shape, code=0, device=(1, 0), storage=0):
    """What stands in front of an array's values. version: V1, V2, V3, or None for the layout before V1."""
    if version is None:
        return struct.pack(f"<I{len(shape)}I3i", len(shape), *shape, *device, code)
    start = struct.pack("<I", version) + (b"" if version == V1 else struct.pack("<i", storage))
    return start + struct.pack(f"<i{len(shape)}q3i", len(shape), *shape, *device, code)


def text(name):
    name = name if isinstance(name, bytes) else name.encode()
    return struct.pack("<Q", len(name)) + name


def parameters(*arrays, names=None, count=None, named=None):
    """A file's bytes. arrays: bytes of each; names: "0", "1", ... unless given."""
    names = [str(number) for number in range(len(arrays))] if names is None else names
    count, named = len(arrays) if count is None else count, len(names) if named is None else named
    start, middle = struct.pack("<3Q", 0x112, 0, count), struct.pack("<Q", named)
    return start + b"".join(arrays) + middle + b"".join(map(text, names))


ONE = header(V2, (1,)) + struct.pack("<f", 7)


def stored(path, content):
    path.write_bytes(content)
    return path
