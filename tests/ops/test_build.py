"""Building and loading the compiled operators, and the kernels under the sanitizers."""

from __future__ import annotations

import os
import subprocess

import pytest

from lib.backends.mxnet.library import load
from lib.errors import InputError
from lib.ops import build, library
from tests.conftest import needs


def test_an_unchanged_build_is_skipped():
    assert build.build() is False
    assert library.build_mark(library.KERNELS)[0] == library.sources_digest()
    needs("mxnet")
    assert library.build_mark(library.LIBRARY)[0] == library.sources_digest()


def load_into_mxnet():
    needs("mxnet")
    load.__wrapped__()


USES = pytest.mark.parametrize("use", [library.checked, library.checked_kernels, load_into_mxnet])


@USES
def test_a_missing_library_names_the_command(monkeypatch, tmp_path, use):
    for name in ("LIBRARY", "KERNELS"):
        monkeypatch.setattr(library, name, tmp_path / "missing.so")
    with pytest.raises(InputError, match=r"not built; run `sh init\.sh` or `python -m lib\.ops\.build`"):
        use()


@USES
def test_a_library_of_other_sources_names_the_command(monkeypatch, tmp_path, use):
    (tmp_path / "old.so").write_bytes(b"... fgfa-build:0123-4567; ...")
    assert library.build_mark(tmp_path / "old.so") == ("0123", "4567")
    for name in ("LIBRARY", "KERNELS"):
        monkeypatch.setattr(library, name, tmp_path / "old.so")
    with pytest.raises(InputError, match=r"built from other sources .* run `python -m lib\.ops\.build`"):
        use()
    (tmp_path / "old.so").write_bytes(b"something else")
    with pytest.raises(InputError, match="built from other sources"):
        use()


def test_no_compiler_is_one_clear_line(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SystemExit) as stop:
        build.main(["--force"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "error: no C++ compiler (tried $CXX, g++, c++): install g++, then run `python -m lib.ops.build` again\n"
    )


def test_a_source_that_does_not_compile_is_reported(tmp_path, caplog):
    broken = tmp_path / "broken.cc"
    broken.write_text("this is no C++\n")
    with pytest.raises(InputError, match="failed with status 1; see its output above"):
        build.run_compilers([[build.compiler(), "-c", str(broken), "-o", str(tmp_path / "broken.o")]])
    assert "broken.cc:1:1: error" in caplog.text


def test_kernels_under_the_sanitizers():
    """Address, undefined behaviour and casts of floats that do not fit, over the driver's edge cases."""
    driver = build.build_sanitized()
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run([str(driver)], capture_output=True, text=True, env=environment, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "401 cases\n"
