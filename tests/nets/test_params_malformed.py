"""Malformed parameter files: cut, shrunk, mutated or random bytes are rejected on one line."""

from __future__ import annotations

import itertools
import os
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import InputError
from lib.nets.params_file import TYPES, V1, V2, V3, read
from tests.nets.params_bytes import ONE, header, parameters, stored, values

HUGE = 2**62
MALFORMED = {
    "empty file": (b"", "its header is missing"),
    "a zip archive": (b"PK\x03\x04" + bytes(100), "its header is missing"),
    "reserved word": (b"\x12\1" + bytes(6) + b"\1" + bytes(100), "its header is missing"),
    "2**64 - 1 arrays": (parameters(ONE, count=2**64 - 1), "cut short"),
    "one array too many": (parameters(ONE, count=2, names=[]), "array 2 of 2 has 0 dimensions"),
    "nothing but a count": (struct.pack("<3Q", 0x112, 0, 2**64 - 1), "cut short"),
    "fewer names": (parameters(ONE, ONE, names=["a"]), "2 arrays but 1 names"),
    "more names": (parameters(ONE, names=["a", "b"]), "1 arrays but 2 names"),
    "names without arrays": (parameters(names=["a"]), "0 arrays but 1 names"),
    "names cut short": (parameters(ONE, ONE, names=["a"], named=2), "cut short"),
    "2**64 - 1 names": (parameters(ONE, named=2**64 - 1), "1 arrays but 18446744073709551615 names"),
    "same name twice": (parameters(ONE, ONE, names=["a", "a"]), "two arrays named 'a'"),
    "long name": (parameters(ONE, names=[])[:-8] + struct.pack("<2Q", 1, 2**64 - 1), "cut short"),
    "name not UTF-8": (parameters(ONE, names=[b"\xff"]), "a name is not UTF-8"),
    "bytes left over": (parameters(ONE) + b"ab", "2 bytes too many at its end"),
    "negative dimension": (parameters(header(V2, (-2, -3)) + bytes(24)), r"impossible shape \(-2, -3\)"),
    "unknown dimension": (parameters(header(V3, (-1,))), r"impossible shape \(-1,\)"),
    "product overflows": (parameters(header(V2, (HUGE, HUGE, 4))), "impossible shape"),
    "product overflows to 0": (parameters(header(V2, (2**32, 2**32))), "impossible shape"),
    "empty but vast": (parameters(header(V3, (0, HUGE, HUGE))), "impossible shape"),
    "more than the file holds": (parameters(header(V2, (HUGE // 8,))), "cut short"),
    "legacy, more than the file holds": (parameters(header(None, (2**32 - 1,))), "cut short"),
    "33 dimensions": (parameters(header(V2, (1,) * 33) + bytes(4)), "33 dimensions"),
    "legacy, 33 dimensions": (parameters(header(None, (1,) * 33) + bytes(4)), "33 dimensions"),
    "ndim -1": (parameters(struct.pack("<Iii", V3, 0, -1)), "-1 dimensions"),
    "ndim -2**31": (parameters(struct.pack("<Iii", V2, 0, -(2**31))), "-2147483648 dimensions"),
    "V2 without a shape": (parameters(struct.pack("<Iii", V2, 0, 0)), "0 dimensions"),
    "V1 without a shape": (parameters(struct.pack("<Ii", V1, 0)), "0 dimensions"),
    "legacy without a shape": (parameters(struct.pack("<I", 0)), "0 dimensions"),
    "V4": (parameters(header(V3 + 1, (1,)) + bytes(4)), f"{V3 + 1} dimensions"),
    "unknown type": (parameters(header(V2, (1,), code=8) + bytes(4)), "array 1 of 1 has the unknown type code 8"),
    "negative type": (parameters(header(V2, (1,), code=-1) + bytes(4)), "unknown type code -1"),
    "bool of 7": (parameters(header(V2, (1,), code=7) + b"\7"), "is bool but holds other values"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files(tmp_path, case):
    content, why = MALFORMED[case]
    path = stored(tmp_path / "a.params", content)
    with pytest.raises(
        InputError, match=rf"a\.params: not an MXNet parameter file \(.*({why}).*\); download"
    ) as refused:
        read(path)
    assert "\n" not in str(refused.value)


def test_every_way_to_cut_a_file_short(tmp_path):
    content = parameters(
        header(None, (2,), 3) + b"ab", header(V1, (2,), 7) + b"\0\1", ONE, header(V3, (), 1) + bytes(8), names="abcd"
    )
    assert list(read(stored(tmp_path / "a.params", content))) == list("abcd")
    for end in range(len(content)):
        with pytest.raises(InputError, match=r"not an MXNet parameter file \((cut short|its header)"):
            read(stored(tmp_path / "a.params", content[:end]))


def test_a_file_that_shrinks_while_it_is_read(tmp_path, monkeypatch):
    content = parameters(header(V2, (1000,)) + bytes(4000))
    size = os.stat_result((0o100644, 0, 0, 1, 0, 0, len(content), 0, 0, 0))
    for end in (10, 100, len(content) - 4):
        path = stored(tmp_path / "a.params", content[:end])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fstat", lambda _: size)
            with pytest.raises(InputError, match=r"\(cut short\)"):
                read(path)


SOUND = parameters(
    *(
        header(version, (2, 3), code) + values((2, 3), TYPES[code]).tobytes()
        for version in (None, V1, V2)
        for code in (0, 7)
    ),
    header(V3, (), 6) + bytes(8),
    header(V3, (0, 3), 5),
)
WORDS = [0, 1, 2, 7, 12, 32, 33, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, V1, V2, V3]


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.binary(min_size=1, max_size=9)), max_size=4),
    st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.sampled_from(WORDS)), max_size=3),
    st.integers(0, len(SOUND)) | st.just(len(SOUND)),
)
def test_mutated_files_are_refused_or_fit_into_the_file(changes, words, end):
    content = bytearray(SOUND)
    for start, change in itertools.chain(changes, ((start, struct.pack("<I", word)) for start, word in words)):
        content[start : start + len(change)] = change
    with tempfile.NamedTemporaryFile(suffix=".params") as file:
        Path(file.name).write_bytes(content[:end])
        try:
            found = read(file.name)
        except InputError as refused:
            assert "\n" not in str(refused)
        else:
            assert sum(array.nbytes for array in found.values()) <= end


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_behind_a_good_start(content):
    with tempfile.NamedTemporaryFile(suffix=".params") as file:
        Path(file.name).write_bytes(struct.pack("<3Q", 0x112, 0, 3) + content)
        with pytest.raises(InputError):
            read(file.name)


def test_allocates_no_more_than_the_file_holds(tmp_path, monkeypatch):
    claimed = []
    monkeypatch.setattr(np, "empty", lambda shape, dtype: claimed.append((shape, dtype)))
    for shape in [(2**20,), (2**40,), (2**61 - 1,), (1000, 1000)]:
        with pytest.raises(InputError, match="cut short"):
            read(stored(tmp_path / "a.params", parameters(header(V2, shape) + bytes(100))))
    assert not claimed
