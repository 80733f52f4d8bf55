"""The CUDA kernels, emulated on the CPU, and the compositions that replace them, against the C kernels."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from tests.conftest import needs

needs("torch")

from lib.backends.torch.compositions import Compositions  # noqa: E402
from lib.backends.torch.cpu import CpuOperators  # noqa: E402
from lib.backends.torch.cuda import CudaOperators  # noqa: E402
from lib.backends.torch.loader import torch  # noqa: E402
from lib.backends.torch.structures import AggregateShape, ProposalRules, PsroiShape  # noqa: E402
from lib.errors import InputError  # noqa: E402
from lib.ops.nvrtc import NvrtcError  # noqa: E402
from tests.ops.emulated import Emulator  # noqa: E402

CPU = CpuOperators()


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    return Emulator(tmp_path_factory.mktemp("emulation"))


@pytest.fixture(params=["kernels", "compositions"])
def operators(request):
    return CudaOperators(request.getfixturevalue("emulator")) if request.param == "kernels" else Compositions()


def normal(*shape: int, seed: int = 0, scale: float = 1.0):
    return torch.from_numpy((np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32))


def close(found, expected, tolerance=1e-5):
    assert found.shape == expected.shape and found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, float(expected.abs().max())))


# Warp


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 19, 5, 7), (3, 33, 1, 37), (1, 5, 33, 9)])
def test_warp(operators, shape):
    batch, _, height, width = shape
    data, flow, above = normal(*shape), normal(batch, 2, height, width, seed=1, scale=3), normal(*shape, seed=2)
    flow[:, :, 0] = flow[:, :, 0].round()  # whole cells, where the gradient has two sides
    close(operators.warp(data, flow), CPU.warp(data, flow))
    for found, expected in zip(operators.warp_backward(above, data, flow), CPU.warp_backward(above, data, flow)):
        close(found, expected, 1e-4)


def test_warp_by_a_flow_without_meaning(operators):
    data, flow = normal(1, 3, 4, 6), torch.zeros(1, 2, 4, 6)
    flow[0, 0, 0] = torch.tensor([-1.5, np.nan, np.inf, -np.inf, 1e30, 6])
    flow[0, 1, 1, :2] = torch.tensor([np.nan, -1e30])
    out = operators.warp(data, flow)
    assert not out[:, :, 0].any() and not out[:, :, 1, :2].any() and out[:, :, 2:].all()
    to_data, to_flow = operators.warp_backward(torch.ones_like(data), data, flow)
    assert not to_data[:, :, 0].any() and to_data.isfinite().all()
    assert not to_flow[:, :, 0].any() and to_flow.isfinite().all()


def test_no_images(operators):
    data, flow = torch.empty(0, 3, 4, 5), torch.empty(0, 2, 4, 5)
    assert operators.warp(data, flow).shape == data.shape
    assert [each.shape for each in operators.warp_backward(data, data, flow)] == [data.shape, flow.shape]


# Pooling


def regions(count: int, batch: int, height: int, width: int):
    """Some lie outside the map, some on halves of pixels, some are smaller than a cell."""
    rng = np.random.default_rng(count)
    corners = rng.uniform(-40, 1, (count, 4)) + rng.uniform(0, 1.2, (count, 4)) * 16 * max(height, width)
    corners[::3] = np.round(corners[::3] * 2) / 2
    corners[::4, 2:] = corners[::4, :2]
    return torch.from_numpy(np.column_stack([rng.integers(0, batch, count), corners]).astype(np.float32))


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1, 1), (2, 3, 7, 9, 13, 300), (3, 2, 3, 1, 8, 40), (1, 2, 2, 4, 4, 0)])
def test_pooling(operators, sizes):
    batch, outputs, group, height, width, count = sizes
    shape = PsroiShape(*sizes, 1 / 16)
    data, rois = normal(batch, outputs * group**2, height, width), regions(count, batch, height, width)
    above = normal(count, outputs, seed=1)
    found = operators.psroi_mean(shape, data, rois)
    assert found.shape == (count, outputs)
    if count:
        close(found, CPU.psroi_mean(shape, data, rois))
        close(operators.psroi_mean_backward(shape, above, rois), CPU.psroi_mean_backward(shape, above, rois))


def test_regions_of_no_image_pool_zeros(operators):
    rois = regions(5, 2, 6, 6)
    rois[:4, 0] = torch.tensor([-1, 2, 0.5, np.nan])
    rois[4] = torch.tensor([1, 0, 0, 95, 95])
    shape = PsroiShape(2, 2, 3, 6, 6, 5, 1 / 16)
    found = operators.psroi_mean(shape, torch.ones(2, 18, 6, 6), rois)
    np.testing.assert_allclose(found, [[0, 0]] * 4 + [[1, 1]], rtol=1e-6)
    gradient = operators.psroi_mean_backward(shape, torch.ones(5, 2), rois)
    assert not gradient[0].any() and gradient[1].sum() == pytest.approx(2, rel=1e-5)


# Aggregation


SIZES = [(1, 1, 1, 1, 1, 1), (3, 5, 5, 7, 4, 8), (5, 3, 9, 4, 33, 17), (2, 3, 3, 5, 260, 1040)]


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
@pytest.mark.parametrize("sizes", SIZES)
def test_aggregation(operators, sizes, kind):
    slots, frames, height, width, channels, embedding = sizes
    ring = normal(slots, height, width, channels + embedding).to(getattr(torch, kind))
    flow = normal(frames, 2, height, width, seed=1, scale=2)
    flow[0, :, 0, 0] = np.nan
    slots_of_frames = torch.from_numpy(np.random.default_rng(2).integers(0, slots, frames).astype(np.float32))
    for current in {0, frames - 1}:
        order = slots_of_frames.clone()
        if frames > 2:
            order[1] = -1  # left out
        shape = AggregateShape(slots, frames, height, width, channels, embedding, current)
        found, expected = (each.aggregate(shape, ring, flow, order) for each in (operators, CPU))
        close(found[0], expected[0], 2e-5)
        close(found[1], expected[1], 2e-6)


def test_a_slot_that_is_not_in_the_ring_counts_as_outside(operators):
    ring, flow = torch.ones(2, 1, 1, 3), torch.zeros(3, 2, 1, 1)
    outside = flow.clone()
    outside[1:] = 5
    shape = AggregateShape(2, 3, 1, 1, 1, 2, 0)
    expected = CPU.aggregate(shape, ring, outside, torch.zeros(3))
    for bad in (2.0, -2.0, 0.5, np.nan):
        found = operators.aggregate(shape, ring, flow, torch.tensor([0, bad, bad]))
        for one, other in zip(found, expected):
            close(one, other)


@pytest.mark.parametrize("channels, limit, kernel", [
    (8, 90, "float32_4_2"),
    (9, 90, "float32_1_2"),
    (1024, 62, "float32_4_2"),  # sm_75, with the channels of the published network
    (5120, 90, "float32_4_1"),
    (5121, 90, "float32_1_1"),
])  # fmt: skip
def test_which_kernel_aggregates(emulator, monkeypatch, channels, limit, kernel):
    monkeypatch.setattr(emulator, "shared_limit", limit * 1024)
    ring, flow = normal(1, 1, 3, 3 * channels), torch.zeros(1, 2, 1, 3)
    arguments = (AggregateShape(1, 1, 1, 3, channels, 2 * channels, 0), ring, flow, torch.zeros(1))
    close(CudaOperators(emulator).aggregate(*arguments)[0], CPU.aggregate(*arguments)[0])
    assert emulator.launched[-1] == f"fgfa_aggregate_{kernel}"


def test_more_channels_than_shared_memory_holds(emulator, monkeypatch):
    monkeypatch.setattr(emulator, "shared_limit", 1000)
    with pytest.raises(InputError, match="EMBED_DIMS: 100 and 200 channels need 1200 bytes"):
        CudaOperators(emulator).aggregate(AggregateShape(1, 1, 1, 1, 100, 200, 0), *[torch.zeros(1, 1, 1, 300)] * 3)


# Proposals


def proposals(batch: int, height: int, width: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    prob = rng.uniform(size=(batch, 18, height, width)).round(1)  # few values, so many are equal
    deltas = 0.3 * rng.normal(size=(batch, 36, height, width))
    info = [[16 * height - 5 * k, 16 * width - 20 * k, 1 + k] for k in range(batch)]
    return [torch.from_numpy(np.asarray(each, np.float32)) for each in (prob, deltas, info)]


@pytest.mark.parametrize("pre, post, threshold, least", [
    (6000, 300, 0.7, 0), (70, 20, 0.3, 16), (0, 40, 0.5, 30), (129, 129, 1.0, 0), (64, 7, 0.0, 0)
])  # fmt: skip
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 6, 9), (1, 9, 13)])
def test_proposals_in_the_same_order(operators, size, pre, post, threshold, least):
    rules = ProposalRules(16, (8, 16, 32), (0.5, 1, 2), pre, post, threshold, least)
    inputs = proposals(*size)
    close(operators.multi_proposal(rules, *inputs), CPU.multi_proposal(rules, *inputs), 1e-6)


def test_proposals_of_numbers_without_meaning(operators):
    rules = ProposalRules(16, (8, 16, 32), (0.5, 1, 2), 100, 30, 0.7, 0)
    prob, deltas, info = proposals(1, 4, 5)
    prob[0, 9:12, 1] = np.nan
    deltas[0, :8, 2] = np.nan
    deltas[0, 8:12, 3] = np.inf
    expected = CPU.multi_proposal(rules, prob, deltas, info)
    close(operators.multi_proposal(rules, prob, deltas, info), expected, 1e-6)


def test_more_anchors_than_the_kernels_take(emulator):
    rules = ProposalRules(16, tuple(range(1, 66)), (1,), 100, 30, 0.7, 0)
    inputs = torch.zeros(1, 130, 2, 2), torch.zeros(1, 260, 2, 2), torch.ones(1, 3)
    with pytest.raises(InputError, match="65 anchors a cell"):
        CudaOperators(emulator).multi_proposal(rules, *inputs)


# Which are used


def test_a_gpu_without_kernels_uses_compositions_with_one_warning(monkeypatch, caplog):
    kernels = importlib.import_module("lib.backends.torch.kernels")

    def missing(device):
        raise NvrtcError("NVRTC for CUDA 12.4 is not installed")

    monkeypatch.setattr(kernels, "Driver", missing)
    kernels.operators_on.cache_clear()
    found = [kernels.operators_on(torch.device("cuda", 0)) for _ in range(2)]
    kernels.operators_on.cache_clear()
    assert isinstance(found[0], Compositions) and found[0] is found[1]
    assert len(caplog.messages) == 1 and "NVRTC for CUDA 12.4 is not installed" in caplog.messages[0]
    assert isinstance(kernels.operators_on(torch.device("cpu")), CpuOperators)
