"""MXNet's parameter files in numpy, compared with MXNet's own loader and saver."""

from __future__ import annotations

import itertools
import os
import re
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.backends.mxnet.loader import mx
from lib.errors import InputError
from lib.nets.params_file import CODES, TYPES, V1, V2, V3, read, write

NAMES = [dtype.name for dtype in CODES]
SHAPES = [(1,), (7,), (2, 3), (4, 1, 2), (2, 3, 4, 5)]


def values(shape, dtype="float32", seed=0):
    """Integers from -100 to 99, as far as the type holds them."""
    return np.random.default_rng(seed).integers(-100, 100, shape).astype(dtype)


def ndarrays(arrays):
    return {name: mx.nd.array(array, dtype=array.dtype) for name, array in arrays.items()}


def same(found, wanted):
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


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


ARRAYS = {
    **{f"arg:{dtype}_{len(shape)}": values(shape, dtype, 1) for dtype in NAMES for shape in SHAPES},
    "aux:Gewichtung/重み_🎞": values((3,)),
    "": values((2,)),
    "arg:special": np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32),
    **{f"arg:many_{number}": values((number % 5 + 1, 2), seed=number) for number in range(500)},
}


def test_reads_what_mxnet_saves(tmp_path):
    mx.nd.save(str(tmp_path / "a.params"), ndarrays(ARRAYS))
    same(read(tmp_path / "a.params"), ARRAYS)


def test_writes_what_mxnet_saves_and_loads(tmp_path):
    ours, theirs = tmp_path / "ours.params", tmp_path / "theirs.params"
    write(ours, ARRAYS)
    mx.nd.save(str(theirs), ndarrays(ARRAYS))
    assert ours.read_bytes() == theirs.read_bytes()
    same({name: array.asnumpy() for name, array in mx.nd.load(str(ours)).items()}, ARRAYS)


def test_no_arrays(tmp_path):
    write(tmp_path / "ours.params", {})
    mx.nd.save(str(tmp_path / "theirs.params"), {})
    assert (tmp_path / "ours.params").read_bytes() == (tmp_path / "theirs.params").read_bytes()
    assert read(tmp_path / "ours.params") == {}


@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("version", [None, V1, V2], ids=["before V1", "V1", "V2"])
def test_versions_as_mxnet_reads_them(tmp_path, version, code):
    wanted = {str(number): values(shape, TYPES[code], number) for number, shape in enumerate([*SHAPES, (0, 3)])}
    # From a GPU, as the published weights may be.
    arrays = [header(version, array.shape, code, device=(2, 1)) + array.tobytes() for array in wanted.values()]
    path = stored(tmp_path / "a.params", parameters(*arrays))
    same({name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()}, wanted)
    same(read(path), wanted)


def test_versions_mixed_in_one_file(tmp_path):
    arrays = [header(version, (2,)) + struct.pack("<2f", 1, 2) for version in (None, V1, V2, V3)]
    found = read(stored(tmp_path / "a.params", parameters(*arrays)))
    same(found, {str(number): np.array([1, 2], np.float32) for number in range(4)})


def test_numpy_shapes_as_mxnet_saves_them(tmp_path):
    with mx.util.np_shape(True):
        wanted = {str(shape): np.ones(shape, np.float32) for shape in [(), (0,), (2, 0, 3), (2,)]}
        mx.nd.save(str(tmp_path / "a.params"), {name: mx.nd.ones(array.shape) for name, array in wanted.items()})
    assert (tmp_path / "a.params").read_bytes()[24:28] == struct.pack("<I", V3)
    same(read(tmp_path / "a.params"), wanted)


def test_arrays_read_are_writable_aligned_and_their_own(tmp_path):
    write(tmp_path / "a.params", {"x": values(3, "int8"), "y": values((2, 2), "float64"), "z": values(2)})
    for array in read(tmp_path / "a.params").values():
        assert array.flags.owndata and array.flags.writeable and array.flags.aligned and array.flags.c_contiguous
        array += 1


def test_bundled_weights(tmp_path):
    path = Path(__file__).parents[2] / "model/minivid/rfcn-0000.params"
    found = read(path)
    same(found, {name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()})
    write(tmp_path / "again.params", found)
    assert (tmp_path / "again.params").read_bytes() == path.read_bytes()


def test_writes_arrays_in_any_layout(tmp_path):
    base = values((4, 6), "float64")
    wanted = {
        "transposed": base.T,
        "strided": base[::2, ::-1],
        "fortran": np.asfortranarray(base),
        "broadcast": np.broadcast_to(base[0], (3, 6)),
        "empty": base[:0],
    }
    write(tmp_path / "a.params", {**wanted, "big endian": base.astype(">f8")})
    same(read(tmp_path / "a.params"), {**wanted, "big endian": base})


@pytest.mark.parametrize("array", [np.float32(1), np.ones(2, complex), np.ones(2, "u8"), np.array(["a"])])
def test_arrays_that_mxnet_could_not_load(tmp_path, array):
    write(tmp_path / "a.params", {"x": values(2)})
    before = (tmp_path / "a.params").read_bytes()
    with pytest.raises(InputError, match=r"a\.params: cannot store array 'y' of type .*; convert it"):
        write(tmp_path / "a.params", {"x": values(2), "y": array})
    assert (tmp_path / "a.params").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_no_such_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none.params", tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: no such file$"):
            read(path)


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    path = stored(tmp_path / "a.params", parameters(ONE))

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    # chmod would not do: the tests may run as root, who reads everything.
    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=r"a\.params: cannot be read \(Permission denied\); check"):
        read(path)


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


def test_files_that_are_not_supported(tmp_path):
    path = tmp_path / "a.params"
    mx.nd.save(str(path), {"w": mx.nd.ones((3, 2)).tostype("row_sparse")})
    with pytest.raises(InputError, match=r"a\.params: array 1 of 1 is sparse \(storage type 1\), .*; save it dense"):
        read(path)
    half = mx.nd.amp_cast(mx.nd.array([1.5, -2]), dtype="bfloat16")
    mx.nd.save(str(path), {"v": mx.nd.ones(2), "w": half})
    with pytest.raises(InputError, match=r"a\.params: array 2 of 2 is bfloat16, .*; save it dense and as float32"):
        read(path)
    mx.nd.save(str(path), [mx.nd.ones(2)])
    with pytest.raises(InputError, match=r"a\.params: holds arrays without names; expected names like arg:conv1"):
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
