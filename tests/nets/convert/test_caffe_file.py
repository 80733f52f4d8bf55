"""Caffe files: every form that is read, and what is rejected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import InputError
from lib.nets.convert.caffe_file import _varint, read_caffemodel
from tests.nets.convert.caffemodel import field, model, varint

ARRAYS = {"conv": [np.arange(24.0).reshape(2, 3, 2, 2), np.float64([0.5, -1.5])], "ip": [np.ones((3, 5))]}


@pytest.mark.parametrize("version1", [False, True])
@pytest.mark.parametrize("kinds", [{}, {"legacy": True}, {"packed": False}, {"double": True}], ids=str)
def test_every_form_of_the_file_is_read(tmp_path, version1, kinds):
    (tmp_path / "x.caffemodel").write_bytes(model(ARRAYS, version1, **kinds))
    found = read_caffemodel(tmp_path / "x.caffemodel")
    assert list(found) == ["conv", "ip"]
    for name, arrays in ARRAYS.items():
        for one, other in zip(found[name].blobs, arrays):
            assert one.dtype == np.float32
            np.testing.assert_array_equal(one.ravel(), other.ravel())
            if not kinds.get("legacy"):
                assert one.shape == other.shape
    assert found["conv"].blobs[0].shape == (2, 3, 2, 2)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_varints_by_round_trip(value):
    data = varint(value)
    assert _varint(memoryview(data + b"\x01"), 0) == (value, len(data))


def test_varint_by_hand():
    assert _varint(memoryview(b"\xac\x02"), 0) == (300, 2)


def test_a_file_cut_anywhere_is_refused_or_gives_whole_layers(tmp_path):
    content, path = model(ARRAYS), tmp_path / "x.caffemodel"
    whole = 0
    for length in range(len(content)):
        path.write_bytes(content[:length])
        try:
            found = read_caffemodel(path)
        except InputError as error:
            assert str(path) in str(error)
        else:  # the cut is between two layers
            whole += 1
            assert list(found) == ["conv"] and len(found["conv"].blobs) == 2
    assert whole == 1


@pytest.mark.parametrize(
    "content, message",
    [
        (b"layer {\n name: 'conv1'\n}\n", "not a .caffemodel"),
        (model({"conv": []}), "no layer with weights"),
        (field(100, field(7, field(7, field(1, b"\x05")) + field(5, b"\0" * 8))), "2 values for the shape"),
        (field(100, field(1, 7)), "a number instead of a message"),
        (field(100, field(1, b"\xff\xfe")), "not a .caffemodel"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "x.caffemodel").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_caffemodel(tmp_path / "x.caffemodel")
    with pytest.raises(InputError, match="cannot be read"):
        read_caffemodel(tmp_path / "no.caffemodel")
