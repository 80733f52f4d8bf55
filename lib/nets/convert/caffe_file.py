"""Reads names and weights of layers from .caffemodel files, without Caffe or protobuf.

A protocol buffer is a list of fields, each with a number, a wire type and a value; unknown fields are skipped. The
field numbers below come from caffe.proto: those of current layers and those of version 1 files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.errors import InputError
from lib.reading import read_bytes

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# NetParameter: field of the layers -> fields (name, blobs) of a layer's message.
_LAYERS = {100: (1, 7), 2: (4, 6)}
# BlobProto: old files give the shape in four fields, new ones in a message with the field `dim`.
_LEGACY_SHAPE = (1, 2, 3, 4)
_MAX_NDIM = 32
_DATA, _SHAPE, _DOUBLE_DATA, _DIM = 5, 7, 8, 1


@dataclass(frozen=True)
class Layer:
    """A layer with weights: float32 arrays in Caffe's order; convolutions are (out, in, height, width)."""

    name: str
    blobs: list[np.ndarray]


def read_caffemodel(path: str | Path) -> dict[str, Layer]:
    """Layers with weights by name. Raises InputError if the file is missing, invalid, truncated or has no weights."""
    path = Path(path)
    content = memoryview(read_bytes(path, "pass an existing .caffemodel"))
    layers = {}
    try:
        for number, value in _fields(content):
            if number in _LAYERS:
                layer = _layer(value, *_LAYERS[number])
                if layer.blobs:
                    layers[layer.name] = layer
    except ValueError as error:
        raise InputError(f"{path}: not a .caffemodel, or truncated ({error}); download it again") from None
    if not layers:
        raise InputError(f"{path}: no layer with weights in it; pass the .caffemodel, not the .prototxt")
    return layers


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field: an int for varints, bytes for all other types."""
    at = 0
    value: int | memoryview
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
        else:
            if wire == _BYTES:
                size, at = _varint(data, at)
            elif wire in (_FIXED32, _FIXED64):
                size = 4 if wire == _FIXED32 else 8
            else:
                raise ValueError(f"wire type {wire} at byte {at}")
            value, at = data[at : at + size], at + size
        if at > len(data) or number == 0:
            raise ValueError(f"field {number} ends at byte {at} of {len(data)}")
        yield number, value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """(number, offset after it); a varint has 7 bits per byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"unterminated number at byte {at}")


def _layer(data: int | memoryview, name_field: int, blobs_field: int) -> Layer:
    name, blobs = "", []
    for number, value in _fields(_message(data)):
        if number == name_field:
            name = bytes(_message(value)).decode("utf-8")  # UnicodeDecodeError is a ValueError
        elif number == blobs_field:
            blobs.append(_blob(_message(value)))
    return Layer(name, blobs)


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number instead of a message")
    return value


def _blob(data: memoryview) -> np.ndarray:
    legacy = dict.fromkeys(_LEGACY_SHAPE, 0)
    shape: list[int] | None = None
    floats, doubles = [], []
    for number, value in _fields(data):
        if number in legacy and isinstance(value, int):
            legacy[number] = min(value, 2**31)
        elif number == _SHAPE:
            shape = _dims(_message(value))
        elif number == _DATA:  # packed, or one value per field
            floats.append(np.frombuffer(_message(value), "<f4"))
        elif number == _DOUBLE_DATA:
            doubles.append(np.frombuffer(_message(value), "<f8"))
    values = np.concatenate(floats or doubles or [np.empty(0)]).astype(np.float32)
    if shape is None:
        shape = list(legacy.values()) if any(legacy.values()) else [values.size]
    if int(np.prod(shape)) != values.size:
        raise ValueError(f"{values.size} values for the shape {shape}")
    return values.reshape(shape)


def _dims(data: memoryview) -> list[int]:
    dims = []
    for number, value in _fields(data):
        if number == _DIM:
            if isinstance(value, int):
                dims.append(value)
            else:
                at = 0
                while at < len(value):
                    dim, at = _varint(value, at)
                    dims.append(dim)
    if len(dims) > _MAX_NDIM or max(dims, default=0) >= 2**31:
        raise ValueError(f"a shape of {len(dims)} dimensions")
    return dims
