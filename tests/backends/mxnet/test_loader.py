"""MXNet is imported late, prepared, and can be another build: each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def python(code, **environment):
    """What a fresh interpreter prints; variables that are None are unset."""
    merged = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, env=merged, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_mxnet_is_imported_at_the_first_use_alone():
    code = """
import os, sys
import lib.config, lib.nets.params, rfcn.network, fgfa_rfcn.network, lib.backends.mxnet.runtime, lib.training.train
from lib.backends.mxnet.loader import mx
from lib.machine import cores
print("mxnet" in sys.modules, "OMP_NUM_THREADS" in os.environ)
print(mx.__version__, "mxnet" in sys.modules, os.environ["OMP_NUM_THREADS"] == str(cores()))
print(os.environ["MXNET_EXEC_INPLACE_GRAD_SUM_CAP"], os.environ["MXNET_SUBGRAPH_VERBOSE"])
"""
    found = python(code, OMP_NUM_THREADS=None, MXNET_SUBGRAPH_VERBOSE=None, MXNET_EXEC_INPLACE_GRAD_SUM_CAP=None)
    assert found == ["False", "False", "1.9.1", "True", "True", "1000", "0"]


def test_numpy_is_left_as_it_was():
    code = """
import numpy as np
from lib.backends.mxnet.loader import _DROPPED_BY_NUMPY, mx
before = set(np.__dict__) & set(_DROPPED_BY_NUMPY)
mx.nd.array([1, 2]).asnumpy()
print(before == set(np.__dict__) & set(_DROPPED_BY_NUMPY))
"""
    assert python(code) == ["True"]


def test_no_version_is_the_installed_one_and_the_environment_of_the_user_wins():
    code = """
import os
from lib.backends.mxnet.loader import mx, select
select("")
print(mx.__version__, os.environ["OMP_NUM_THREADS"])
"""
    assert python(code, OMP_NUM_THREADS="1") == ["1.9.1", "1"]


@pytest.fixture
def fake(tmp_path):
    """external/mxnet with one package `mine`."""
    package = tmp_path / "mine" / "mxnet"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import numpy\nfrom mxnet import more\n__version__ = '7' + str(numpy.bool)[8:12]"
    )
    (package / "more.py").write_text("")
    (tmp_path / "broken" / "mxnet").mkdir(parents=True)
    (tmp_path / "broken" / "mxnet" / "__init__.py").write_text("raise ImportError('broken')")
    return tmp_path


def test_another_build_is_selected(fake):
    code = f"""
from lib.backends.mxnet import loader as mx
from lib.backends.mxnet.loader import mx as proxy
mx.select("mine", {str(fake)!r})
mx.select("mine", {str(fake)!r})
print(proxy.__version__)
import mxnet
print(mxnet.__file__)
"""
    assert python(code) == ["7bool", str(fake / "mine" / "mxnet" / "__init__.py")]


def test_what_cannot_be_selected(fake):
    code = f"""
import sys
from lib.backends.mxnet import loader as mx
from lib.errors import InputError
def attempt(version):
    try:
        mx.select(version, {str(fake)!r})
    except InputError as error:
        print(str(error).replace(" ", "_"))
attempt("other")
try:
    mx.select("broken", {str(fake)!r})
except ImportError:
    print("mxnet" in sys.modules)
mx.mx.cpu
attempt("mine")
"""
    missing, left_behind, late = python(code)
    assert "no_package" in missing and str(fake / "other" / "mxnet") in missing
    assert left_behind == "False"
    assert "imported_already" in late
