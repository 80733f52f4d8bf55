"""MXNet's parameter files in numpy, compared with MXNet's own loader and saver."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from lib.backends.mxnet.loader import mx
from lib.errors import InputError
from lib.nets.params_file import CODES, TYPES, V1, V2, V3, read, write
from tests.conftest import needs
from tests.nets.params_bytes import ONE, header, parameters, stored, values

NAMES = [dtype.name for dtype in CODES]
SHAPES = [(1,), (7,), (2, 3), (4, 1, 2), (2, 3, 4, 5)]


def saved_by_mxnet(path, arrays):
    """Skips the test where MXNet, which is to agree, is not installed."""
    needs("mxnet")
    mx.nd.save(str(path), {name: mx.nd.array(array, dtype=array.dtype) for name, array in arrays.items()})
    return path


def loaded_by_mxnet(path):
    needs("mxnet")
    return {name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()}


def same(found, wanted):
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


ARRAYS = {
    **{f"arg:{dtype}_{len(shape)}": values(shape, dtype, 1) for dtype in NAMES for shape in SHAPES},
    "aux:Gewichtung/重み_🎞": values((3,)),
    "": values((2,)),
    "arg:special": np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32),
    **{f"arg:many_{number}": values((number % 5 + 1, 2), seed=number) for number in range(500)},
}


def test_reads_what_mxnet_saves(tmp_path):
    saved_by_mxnet(tmp_path / "a.params", ARRAYS)
    same(read(tmp_path / "a.params"), ARRAYS)


def test_writes_what_mxnet_saves_and_loads(tmp_path):
    ours, theirs = tmp_path / "ours.params", tmp_path / "theirs.params"
    write(ours, ARRAYS)
    same(read(ours), ARRAYS)
    saved_by_mxnet(theirs, ARRAYS)
    assert ours.read_bytes() == theirs.read_bytes()
    same(loaded_by_mxnet(ours), ARRAYS)


def test_no_arrays(tmp_path):
    write(tmp_path / "ours.params", {})
    assert read(tmp_path / "ours.params") == {}
    saved_by_mxnet(tmp_path / "theirs.params", {})
    assert (tmp_path / "ours.params").read_bytes() == (tmp_path / "theirs.params").read_bytes()


@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("version", [None, V1, V2], ids=["before V1", "V1", "V2"])
def test_versions_as_mxnet_reads_them(tmp_path, version, code):
    wanted = {str(number): values(shape, TYPES[code], number) for number, shape in enumerate([*SHAPES, (0, 3)])}
    # From a GPU, as the published weights may be.
    arrays = [header(version, array.shape, code, device=(2, 1)) + array.tobytes() for array in wanted.values()]
    path = stored(tmp_path / "a.params", parameters(*arrays))
    same(read(path), wanted)
    same(loaded_by_mxnet(path), wanted)


def test_versions_mixed_in_one_file(tmp_path):
    arrays = [header(version, (2,)) + struct.pack("<2f", 1, 2) for version in (None, V1, V2, V3)]
    found = read(stored(tmp_path / "a.params", parameters(*arrays)))
    same(found, {str(number): np.array([1, 2], np.float32) for number in range(4)})


def test_numpy_shapes_as_mxnet_saves_them(tmp_path):
    needs("mxnet")
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
    write(tmp_path / "again.params", found)
    assert (tmp_path / "again.params").read_bytes() == path.read_bytes()
    same(found, loaded_by_mxnet(path))


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


def test_files_that_are_not_supported(tmp_path):
    needs("mxnet")
    path = tmp_path / "a.params"
    mx.nd.save(str(path), {"w": mx.nd.ones((3, 2)).tostype("row_sparse")})
    with pytest.raises(InputError, match=r"a\.params: array 1 of 1 is sparse \(storage type 1\), .*; save it as dense"):
        read(path)
    half = mx.nd.amp_cast(mx.nd.array([1.5, -2]), dtype="bfloat16")
    mx.nd.save(str(path), {"v": mx.nd.ones(2), "w": half})
    with pytest.raises(InputError, match=r"a\.params: array 2 of 2 is bfloat16, .*; save it as dense float32"):
        read(path)
    mx.nd.save(str(path), [mx.nd.ones(2)])
    with pytest.raises(InputError, match=r"a\.params: contains arrays without names; expected names like arg:conv1"):
        read(path)
