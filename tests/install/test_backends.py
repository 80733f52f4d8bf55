"""init.sh --backend: what it installs, what it remembers, and what a machine cannot have."""

from __future__ import annotations

import sys

import pytest

from tests.install.checkout import Installed

MACHINES = {"Apple Silicon": ("Darwin", "arm64"), "Intel Mac": ("Darwin", "x86_64"), "ARM": ("Linux", "aarch64")}


@pytest.mark.parametrize(
    ("machine", "options", "line"),
    [
        ("Apple Silicon", [], "MXNet has no package for Apple Silicon; run sh init.sh --backend torch"),
        ("Apple Silicon", ["--backend=both"], "MXNet has no package for Apple Silicon"),
        ("Apple Silicon", ["--backend", "torch", "--gpu"], "PyTorch's CUDA build is installed only on Linux"),
        ("Intel Mac", ["--backend", "torch"], "run sh init.sh --backend mxnet"),
        ("ARM", ["--gpu"], "MXNet's CUDA build exists only for Linux on x86-64"),
        ("ARM", ["--gpu", "--backend=both"], "add --backend mxnet or --backend torch"),
        ("ARM", ["--backend=tf"], "--backend tf: choose mxnet, torch or both"),
    ],
)
def test_what_a_machine_cannot_have(checkout, machine, options, line):
    kernel, processor = MACHINES[machine]
    (checkout.programs / "uname").unlink(missing_ok=True)
    checkout.script("uname", f"case $1 in -s) echo {kernel} ;; -m) echo {processor} ;; esac")
    assert line in checkout.fails(*options, status=2)
    assert not (checkout.root / "build").exists()


def test_a_backend_for_apple_silicon(checkout):
    (checkout.programs / "uname").unlink(missing_ok=True)
    checkout.script("uname", "case $1 in -s) echo Darwin ;; -m) echo arm64 ;; esac")
    checkout.python("python3.13", (3, 13, 0))
    assert "python3.13, 3.13.0 (the first usable one" in checkout.run("--backend", "torch").stdout


linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyPI has PyTorch's build for the CPU")


CPU_TORCH = "--no-deps --index-url https://download.pytorch.org/whl/cpu torch"
REMOVE_MXNET = "-m pip uninstall --yes mxnet mxnet-cu112"


def requirements(installed: Installed) -> set[str]:
    text = (installed.root / "build/requirements.txt").read_text()
    return {name for name in ("mxnet", "torch") if f"\n{name}>=" in f"\n{text}"}


@linux
def test_the_backend_is_remembered_until_another_is_asked_for(installed):
    first = installed.pip_calls("--backend", "torch")
    assert first[:3] == [REMOVE_MXNET, CPU_TORCH, "setuptools cython"] and len(first) == 5
    assert requirements(installed) == {"torch"}
    assert installed.pip_calls() == installed.pip_calls("--backend=torch") == []
    assert installed.pip_calls("--backend=both")[0] == CPU_TORCH and requirements(installed) == {"mxnet", "torch"}
    assert installed.pip_calls("--backend=mxnet")[0] == "setuptools cython" and requirements(installed) == {"mxnet"}
    assert installed.pip_calls() == []
    assert installed.pip_calls("--backend=torch")[0] == REMOVE_MXNET


@linux
def test_the_backend_is_remembered_after_a_failed_check(installed):
    broken = installed.root / "lib/backends/torch/loader.py"
    right = broken.read_text()
    broken.write_text("raise OSError('libtorch.so: cannot open')")
    line = installed.fails("--backend=torch", VIRTUAL_ENV=str(installed.home / "venv"))
    assert "torch does not import: OSError: libtorch.so: cannot open" in line
    broken.write_text(right)
    assert CPU_TORCH in installed.pip_calls()


@linux
def test_without_the_index_of_cpu_builds_pypi_serves(installed):
    python = installed.home / "venv/bin/python"
    python.write_text(python.read_text().replace('echo "$*"', 'case "$*" in *whl/cpu*) exit 1 ;; esac; echo "$*"'))
    done = installed.run("--backend=torch", VIRTUAL_ENV=str(installed.home / "venv"))
    assert done.returncode == 0 and "not available from download.pytorch.org: installing PyPI's build" in done.stdout
    assert requirements(installed) == {"torch"}


@linux
def test_gpu_takes_pytorch_with_cuda(installed):
    calls = installed.pip_calls("--backend=torch", "--gpu")
    assert "torch" in calls and CPU_TORCH not in calls
    settings = {"VIRTUAL_ENV": str(installed.home / "venv"), "CUDA": "", "PIP_FIND_LINKS": "/wheels"}
    line = installed.fails("--gpu", **settings)
    assert "PyTorch 2.13.0 was built without CUDA; pip found it in PIP_FIND_LINKS=/wheels" in line
