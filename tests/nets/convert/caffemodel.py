"""Files of Caffe, put together byte by byte."""

from __future__ import annotations

import struct


def varint(value):
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def field(number, value):
    """A varint for an int, else bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def blob(array, legacy=False, packed=True, double=False):
    kind = "<f8" if double else "<f4"
    if legacy:  # num, channels, height, width
        dims = b"".join(field(i, d) for i, d in enumerate((1,) * (4 - array.ndim) + array.shape, start=1))
    else:
        dims = field(7, field(1, b"".join(map(varint, array.shape))))
    if packed:
        return dims + field(8 if double else 5, array.astype(kind).tobytes())
    return dims + b"".join(varint(5 << 3 | 5) + struct.pack("<f", value) for value in array.ravel())


def model(layers, version1=False, **kinds):
    """A .caffemodel with a name, a layer without weights, and fields that the reader ignores."""
    number, name, blobs = (2, 4, 6) if version1 else (100, 1, 7)
    parts = [field(1, b"a net"), field(number, field(name, b"relu1"))]
    for layer, arrays in layers.items():
        unknown = field(10, 1) + varint(11 << 3 | 5) + b"abcd" + varint(12 << 3 | 1) + b"12345678"
        message = field(name, layer.encode()) + unknown + b"".join(field(blobs, blob(a, **kinds)) for a in arrays)
        parts.append(field(number, message))
    return b"".join(parts)
