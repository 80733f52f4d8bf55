"""Finding the libraries of MXNet's CUDA build and judging GPUs, with libraries and a driver compiled here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib import cuda
from lib.cuda import Card

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("gcc"), reason="makes ELF libraries with gcc"
)


def library(path, source="", needs=()):
    """A shared library that names those it needs without a path: the loader does not find them by itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "source.c").write_text(source or f"int of_{path.name.split('.')[0]}(void) {{ return 1; }}\n")
    options = [f"-Wl,-soname,{path.name}", "-Wl,--no-as-needed", *map(str, needs)]
    command = ["gcc", "-shared", "-fPIC", "-o", path, path.parent / "source.c", *options]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture
def site(tmp_path):
    """A folder of packages: mxnet, which needs two libraries, and nvidia's, one of which needs the other."""
    cudart = library(tmp_path / "nvidia/cuda_runtime/lib/libcudart.so.11.0")
    cublas = library(tmp_path / "nvidia/cublas/lib/libcublas.so.11", needs=[cudart])
    library(tmp_path / "mxnet/libmxnet.so", needs=[cublas, cudart])
    (tmp_path / "mxnet/__init__.py").write_text(
        "import ctypes, pathlib\n"
        "ctypes.CDLL(str(pathlib.Path(__file__).parent / 'libmxnet.so'), ctypes.RTLD_LOCAL)\n__version__ = 'loaded'\n"
    )
    return tmp_path


def python(site, code, **environment):
    environment = {"PYTHONPATH": f"{site}:{ROOT}", "PATH": "/usr/bin:/bin", **environment}
    command = [sys.executable, "-W", "ignore", *code]
    return subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, timeout=120)


def test_what_a_library_needs(site):
    names = cuda.needed(site / "mxnet/libmxnet.so")
    assert names[:2] == ["libcublas.so.11", "libcudart.so.11.0"]
    assert set(names[2:]) <= {"libc.so.6", "libgcc_s.so.1"}
    if shutil.which("readelf"):
        listed = subprocess.run(["readelf", "-d", sys.executable], check=True, capture_output=True, text=True).stdout
        wanted = [line.split("[")[1].rstrip("]") for line in listed.splitlines() if "(NEEDED)" in line]
        assert cuda.needed(sys.executable) == wanted


def test_a_file_that_is_not_a_library_is_refused(tmp_path):
    (tmp_path / "x.so").write_bytes(b"\x7fELF\x01 thirty-two bits, or cut short")
    with pytest.raises(ValueError, match="not a 64-bit"):
        cuda.needed(tmp_path / "x.so")


def test_a_cuda_build_is_recognised_by_what_it_needs(site):
    assert cuda.is_cuda_build(site / "mxnet")
    library(site / "other/libmxnet.so")
    assert not cuda.is_cuda_build(site / "other")
    assert not cuda.is_cuda_build(site / "nowhere")


def test_mxnet_loads_with_libraries_that_only_the_wheels_have(site):
    assert "libcublas.so.11" in python(site, ["-c", "import mxnet"]).stderr
    done = python(site, ["-c", "from lib.backends.mxnet.loader import mx; print(mx.__version__)"])
    assert done.stdout == "loaded\n", done.stderr


def test_a_library_that_is_nowhere_is_named(site):
    (site / "nvidia/cuda_runtime/lib/libcudart.so.11.0").unlink()
    done = python(site, ["-m", "lib.cuda"])
    assert done.returncode == 2
    assert "cannot load libcublas.so.11, libcudart.so.11.0; run sh init.sh --gpu again" in done.stderr
    done = python(site, ["-c", "from lib.backends.mxnet.loader import mx; mx.__version__"])
    assert "InputError" in done.stderr and "python -m lib.cuda" in done.stderr


DRIVER = """
#include <string.h>
static const int majors[] = {8, 9}, minors[] = {6, 0};
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strcpy(name, device ? "NVIDIA H200" : "NVIDIA A10"); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? majors[device] : attribute == 76 ? minors[device] : -1;
    return 0;
}
"""


@pytest.mark.parametrize("count, status", [(2, 0), (0, 1)])
def test_cards_that_the_driver_reports(site, count, status):
    library(site / "driver/libcuda.so.1", DRIVER.replace("COUNT", str(count)))
    done = python(site, ["-m", "lib.cuda"], LD_LIBRARY_PATH=str(site / "driver"))
    assert done.returncode == status, done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"libmxnet.so: all \d+ libraries found", lines.pop())
    if count:
        assert lines[0] == "GPU 0: NVIDIA A10, compute capability 8.6: MXNet 1.9.1 has kernels for it"
        assert lines[1].startswith("GPU 1: NVIDIA H200, compute capability 9.0: MXNet 1.9.1 has NO kernels for it")
        assert "sh init.sh without --gpu" in lines[1]
    else:
        assert "the NVIDIA driver reports no GPU" in lines[0]


def test_without_a_driver_there_is_a_remedy(site):
    if cuda.has_driver():
        pytest.skip("this machine has a driver")
    done = python(site, ["-m", "lib.cuda", "--card"])
    assert (
        done.returncode == 0
        and "no NVIDIA driver (" in done.stdout
        and "install the driver" in done.stdout
        and "libraries" not in done.stdout
    )


@pytest.mark.parametrize(
    "capability, served",
    [
        ((3, 7), False),  # K80
        ((5, 2), True),  # GTX 980
        ((6, 1), True),  # GTX 1080
        ((7, 0), True),  # V100
        ((7, 5), True),  # T4
        ((8, 0), True),  # A100
        ((8, 6), True),  # A10
        ((8, 9), True),  # L4, RTX 4090
        ((9, 0), False),  # H100, H200
        ((10, 0), False),  # B200
        ((12, 0), False),  # RTX 5090
    ],
)
def test_which_cards_are_served(capability, served):
    assert Card("x", capability).served is served
    assert cuda.verdict([Card("x", capability)], driver=True)[1] is served
