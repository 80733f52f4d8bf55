"""Loading and launching kernels, with a CUDA driver compiled here that runs them on the CPU."""

from __future__ import annotations

import contextlib
import types

import pytest

from tests.conftest import needs

needs("torch")

from lib.backends.torch import driver  # noqa: E402
from lib.backends.torch.cpu import CpuOperators  # noqa: E402
from lib.backends.torch.cuda import CudaOperators  # noqa: E402
from lib.backends.torch.driver import Driver, DriverError  # noqa: E402
from lib.backends.torch.loader import torch  # noqa: E402
from lib.ops.library import KERNEL_NAMES  # noqa: E402
from lib.ops.nvrtc import NvrtcError  # noqa: E402
from tests.ops.emulated import FOLDER, compiled  # noqa: E402


class Nvrtc:
    code = b"machine code"

    def __init__(self, version):
        assert version == "12.4"

    def target(self, capability):
        return f"sm_{capability}"

    def cached(self, name, target):
        assert name in KERNEL_NAMES and target == "sm_75"
        return self.code


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compiled("warp", tmp_path_factory.mktemp("driver"), FOLDER / "driver.cc")


@pytest.fixture
def gpu(monkeypatch, library):
    cuda = types.SimpleNamespace(
        get_device_capability=lambda device: (7, 5),
        device=lambda device: contextlib.nullcontext(),
        current_device=lambda: 0,
        current_stream=lambda: types.SimpleNamespace(cuda_stream=7),
    )
    version = types.SimpleNamespace(cuda="12.4")
    fake = types.SimpleNamespace(cuda=cuda, version=version, empty=lambda *size, device: None, Tensor=torch.Tensor)
    monkeypatch.setattr(driver, "torch", fake)
    monkeypatch.setattr(driver, "DRIVER", str(library))
    monkeypatch.setattr(driver, "Nvrtc", Nvrtc)
    return fake


def test_kernels_run_through_the_driver(gpu):
    made = Driver("cuda:0")
    assert made.shared_limit == 62 * 1024
    data, flow = torch.rand(2, 19, 5, 7), torch.randn(2, 2, 5, 7) * 2
    operators = CudaOperators(made)
    torch.testing.assert_close(operators.warp(data, flow), CpuOperators().warp(data, flow))
    expected = CpuOperators().warp_backward(data, data, flow)
    torch.testing.assert_close(operators.warp_backward(data, data, flow), expected)


def test_errors_name_the_kernel(gpu):
    made = Driver("cuda:0")
    with pytest.raises(DriverError, match="fgfa_warp_forward: cuLaunchKernel: CUDA_ERROR_INVALID_VALUE"):
        made("fgfa_warp_forward", (1,), (2048,), 0)


@pytest.mark.parametrize("change, message", [
    (lambda gpu, patch: patch.setattr(gpu.version, "cuda", None), "this PyTorch is not built for CUDA"),
    (lambda gpu, patch: patch.setattr(driver, "DRIVER", "/nowhere/libcuda.so.1"), "/nowhere/libcuda.so.1"),
    (lambda gpu, patch: patch.setattr(Nvrtc, "code", b"?"), "cuModuleLoadData: CUDA_ERROR_INVALID_SOURCE"),
])  # fmt: skip
def test_kernels_that_cannot_be_loaded(gpu, monkeypatch, change, message):
    change(gpu, monkeypatch)
    with pytest.raises((DriverError, NvrtcError), match=message):
        Driver("cuda:0")
