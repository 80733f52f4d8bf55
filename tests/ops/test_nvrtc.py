"""Compiling the CUDA kernels at run time. What needs NVRTC is skipped where it is not installed."""

from __future__ import annotations

import re
import shutil

import pytest

from lib.ops import build, nvrtc
from lib.ops.nvrtc import Nvrtc, NvrtcError

FILES = sorted(path.stem for path in build.SOURCES.glob("*.cuh"))
NAMES = {
    name: set(re.findall(r"\b(fgfa_\w+)\(", (build.SOURCES / f"{name}.cuh").read_text())) for name in ("warp", "psroi")
}


@pytest.fixture(scope="module")
def compiler():
    for version in ("13.0", "12.4", "11.2"):
        try:
            return Nvrtc(version)
        except NvrtcError:
            continue
    pytest.skip("NVRTC is not installed (pip install nvidia-cuda-nvrtc)")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "fgfa"


@pytest.mark.parametrize("architecture", build.CUDA_ARCHITECTURES)
@pytest.mark.parametrize("name", FILES)
def test_every_kernel_compiles_for_every_architecture(compiler, name, architecture):
    if architecture not in compiler.architectures():
        pytest.skip(f"this NVRTC, {compiler.version}, does not compile for {architecture}")
    code = compiler.compile(name, f"sm_{architecture}")
    assert code.startswith(b"\x7fELF")
    for kernel in NAMES.get(name, ()):
        assert kernel.encode() in code


def test_a_gpu_newer_than_nvrtc_gets_ptx(compiler):
    newest = compiler.architectures()[-1]
    assert compiler.target(newest) == f"sm_{newest}" and compiler.target(999) == f"compute_{newest}"
    assert f".target sm_{newest}".encode() in compiler.compile("psroi", f"compute_{newest}")
    with pytest.raises(NvrtcError, match="knows no compute capability below"):
        compiler.target(10)


def test_compiled_kernels_are_kept(compiler, cache, monkeypatch):
    target = compiler.target(80)
    first = compiler.cached("psroi", target)
    (path,) = cache.iterdir()
    assert path.name.startswith(f"psroi-{target}-")
    with monkeypatch.context() as patched:
        patched.setattr(Nvrtc, "compile", None)
        assert compiler.cached("psroi", target) == first
    path.write_bytes(path.read_bytes()[:-1])
    assert compiler.cached("psroi", target) == first  # compiled again
    assert [each.stat().st_size for each in cache.iterdir()] == [len(first) + 32]


def test_a_cache_that_cannot_be_written_does_no_harm(compiler, cache, caplog):
    cache.write_text("a file where the folder would be")
    assert compiler.cached("psroi", compiler.target(80)).startswith(b"\x7fELF")
    assert "cannot be written, so the kernels are compiled in every run" in caplog.text


def test_a_kernel_that_does_not_compile(compiler, monkeypatch, tmp_path):
    (tmp_path / "broken.cuh").write_text("this is no CUDA\n")
    monkeypatch.setattr(nvrtc, "SOURCES", tmp_path)
    with pytest.raises(NvrtcError, match=r"broken\.cuh: NVRTC cannot compile it: broken\.cuh\(1\): error"):
        compiler.compile("broken", compiler.target(80))


def test_no_nvrtc(tmp_path):
    with pytest.raises(NvrtcError, match=r"NVRTC for CUDA 7\.5 is not installed"):
        Nvrtc("7.5", (str(tmp_path),))


# nvcc


def listing(path, architectures):
    """A script in place of nvcc."""
    path.write_text("#!/bin/sh\n" + "".join(f"echo compute_{a}\n" for a in architectures))
    path.chmod(0o755)
    return str(path)


def test_architectures_of_the_installed_nvcc(tmp_path):
    cuda_12 = listing(tmp_path / "nvcc", [50, 60, 70, 75, 80, 86, 87, 89, 90])
    assert build.nvcc_architectures(cuda_12) == [70, 75, 80, 86, 89, 90]
    cuda_13 = listing(tmp_path / "nvcc", [75, 80, 86, 87, 88, 89, 90, 100, 110, 120, 121])
    assert build.nvcc_architectures(cuda_13) == [75, 80, 86, 89, 90, 100, 120]
    with pytest.raises(build.InputError, match="compiles for none of sm_70, sm_75"):
        build.nvcc_architectures(listing(tmp_path / "nvcc", [35]))


def test_mxnets_library_has_what_mxnet_has():
    assert [a for a in build.CUDA_ARCHITECTURES if build.mxnet_runs_on(a)] == [70, 75, 80, 86, 89]


@pytest.mark.skipif(not shutil.which("nvcc"), reason="nvcc is not installed")
def test_nvcc_compiles_the_launchers(tmp_path):
    commands = build._cuda_commands("nvcc", {}, str(tmp_path), ["-arch=sm_80"])
    build.run_compilers(commands)
    assert len(list(tmp_path.glob("cuda_*.o"))) == len(FILES)
