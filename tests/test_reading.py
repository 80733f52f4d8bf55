"""Damaged and hostile files end in one InputError, and what could grow without bounds has a limit."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import pytest

from lib import reading
from lib.argument import positive, real, whole
from lib.errors import InputError, read_text
from lib.reading import escapes, inside, is_plain, load_arrays, parse_json, parse_xml, parse_yaml, save_arrays, walk

LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh")
)


@pytest.mark.parametrize(
    "text, problem",
    [
        (LAUGHS, "aliases expand to more than 100000 values"),
        ("a: &a [*a]", "aliases expand"),
        ("a: 2001-99-99", "invalid YAML"),
        ("a: " + "9" * 400, "more than 64 bits"),
        ("a: " + "9" * 5000, "invalid YAML"),
        ("[" * 5000, "nested too deeply"),
        ("a: 1\na: 2", "in.yaml:2: invalid YAML: a is given twice"),
        ("? [1]\n: 2", "invalid YAML"),
        ("!!python/object/apply:os.system [ls]", "invalid YAML"),
    ],
)
def test_yaml(text, problem):
    with pytest.raises(InputError) as raised:
        parse_yaml(text, "in.yaml")
    assert problem in str(raised.value)
    assert len(str(raised.value)) < 600 and "\n" not in str(raised.value)


def test_aliases_of_ordinary_files():
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}", "") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}
    assert parse_yaml("", "") is None


@pytest.mark.parametrize("text", ["NaN", "[1e999]", "-Infinity", "9" * 5000, "9" * 20, "[" * 100000, '{"a": ', "\x00"])
def test_json(text):
    with pytest.raises(InputError, match=r"in\.json.*broken JSON") as raised:
        parse_json(text, "in.json", "give another")
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_document_types_are_refused(encoding):
    text = '<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'
    with pytest.raises(InputError, match=r"in\.xml:1: XML with a <!DOCTYPE>"):
        parse_xml(text.encode(encoding), "in.xml")
    assert parse_xml("<x>é</x>".encode(encoding), "in.xml").text == "é"


def archive(path, name="a.npy", content=None, **header):
    file = io.BytesIO()
    if header:
        np.lib.format.write_array_header_1_0(file, {"fortran_order": False, **header})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, file.getvalue() if content is None else content)
    return path


@pytest.mark.parametrize("shape", [(1 << 40,), (-1,), (2, 2)])
def test_arrays_of_other_sizes_than_they_say(tmp_path, shape):
    with pytest.raises(InputError, match="not a NumPy archive, or damaged"):
        load_arrays(archive(tmp_path / "a.npz", descr="<f8", shape=shape), "make it again")


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_read_as_they_were_written(tmp_path, compressed):
    arrays = {"a/b": np.arange(6.0).reshape(2, 3), "c": np.array("text"), "none": np.zeros((0, 2), np.int32)}
    save_arrays(tmp_path / "x.npz", arrays, compressed=compressed)
    found = load_arrays(tmp_path / "x.npz", "")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        save_arrays(tmp_path / "x.npz", {"a": np.array([{}])})
    assert os.listdir(tmp_path) == ["x.npz"]


def test_arrays_that_are_objects_or_damaged(tmp_path, monkeypatch):
    np.savez(tmp_path / "good.npz", a=np.arange(5), b=np.array("text"))
    assert load_arrays(tmp_path / "good.npz", "")["a"].tolist() == [0, 1, 2, 3, 4]
    np.savez(tmp_path / "object.npz", a=np.array([{}]))
    content = bytearray((tmp_path / "good.npz").read_bytes())
    content[content.index(b"\x04\0\0\0\0\0\0\0")] = 7  # a value: the checksum does not match
    (tmp_path / "flipped.npz").write_bytes(content)
    for name in ("object.npz", "flipped.npz", "none.npz"):
        with pytest.raises(InputError, match=name):
            load_arrays(tmp_path / name, "make it again")
    monkeypatch.setattr(reading, "UNPACKED", 1000)
    with pytest.raises(InputError, match=r"unpacks to .* bytes, more than 1000"):
        load_arrays(archive(tmp_path / "bomb.npz", content=bytes(10**6)), "make it again")


def test_pipes_devices_and_folders_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(InputError, match=r"pipe, device or socket|Is a directory"):
            read_text(path, "give a file")
        with pytest.raises(InputError, match=r"pipe, device or socket|Is a directory"):
            reading.read_bytes(path, "give a file")


def test_links_that_form_a_cycle(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.JPEG").touch()
    (tmp_path / "alias").symlink_to(tmp_path / "a")
    assert [(folder.name, files) for folder, files in walk(tmp_path)][1:] == [("a", ["x.JPEG"]), ("alias", ["x.JPEG"])]
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    with pytest.raises(InputError, match="up: is a symbolic link to a folder above it"):
        list(walk(tmp_path))


def test_folders_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "FOLDERS", 50)
    for level in range(10):  # every folder has two names: 2^10 paths
        (tmp_path / str(level)).mkdir()
        for name in "xy":
            (tmp_path / str(level) / name).symlink_to(tmp_path / str(level + 1))
    with pytest.raises(InputError, match="contains more than 50 folders"):
        list(walk(tmp_path / "0"))


def test_paths_that_leave_their_folder():
    assert str(inside("a", "b/../c", "here")) == "a/b/../c"
    for name in ("../x", "/etc/passwd", "b/../../x", "x\0", ".", ""):
        with pytest.raises(InputError, match=r"here: .* is not inside a"):
            inside("a", name, "here")
    assert [escapes(name) for name in ("a/b", "a..b/c", "../x", "/x", "a/../../x", "~x")] == [0, 0, 1, 1, 1, 1]
    assert [is_plain(name) for name in ("v1.2", "clip 0", "é+1", "..", ".x", "a/b", "", "x" * 300)] == [
        1,
        1,
        1,
        *[0] * 5,
    ]


def test_numbers_of_options():
    assert (positive("3"), whole("0"), real(0, 1)("0.5")) == (3, 0, 0.5)
    for kind, text in ((positive, "0"), (whole, "-1"), (whole, "9" * 12), (real(), "nan"), (real(0, 1), "1.5")):
        with pytest.raises(Exception, match=r"less than|more than|not a finite number"):
            kind(text)
