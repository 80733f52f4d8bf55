"""Files appear whole or not at all."""

from __future__ import annotations

import hashlib
import os

import pytest

from lib.files import replacing, sha256


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".json" and temporary.name.startswith(".")
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole" and os.listdir(path.parent) == ["a.json"]


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half-way"), replacing(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("half-way")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_an_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt"):
        raise KeyboardInterrupt
    assert not os.listdir(tmp_path)


def test_permissions_are_those_of_any_new_file(tmp_path):
    umask = os.umask(0o027)
    try:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_bytes(b"")
    finally:
        os.umask(umask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_sha256(tmp_path):
    content = bytes(range(256)) * 10000  # more than one block
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
