"""Without PyTorch, its files are rejected with advice."""

from __future__ import annotations

import sys

import pytest

from lib.errors import InputError
from lib.nets.convert.torch_file import read_state


def test_without_torch_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "x.pth").write_bytes(b"PK")
    with pytest.raises(InputError, match="pip install torch"):
        read_state(tmp_path / "x.pth")
    with pytest.raises(InputError, match="no such file"):
        read_state(tmp_path / "y.pth")
