"""Without PyTorch, its files are rejected with advice."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from lib.errors import InputError
from lib.nets import params_file
from lib.nets.convert.torch_file import read_state


def test_a_parameter_file_need_not_be_converted(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    params_file.write(tmp_path / "x.params", {"arg:a": np.zeros(1, np.float32)})
    with pytest.raises(InputError, match=r"x\.params: is an MXNet parameter file already; use it as it is"):
        read_state(tmp_path / "x.params")


def test_without_torch_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "x.pth").write_bytes(b"PK")
    with pytest.raises(InputError, match="pip install torch"):
        read_state(tmp_path / "x.pth")
    with pytest.raises(InputError, match="no such file"):
        read_state(tmp_path / "y.pth")
