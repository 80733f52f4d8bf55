"""Checks and times the CUDA kernels on a GPU, through their C interface and without MXNet.

    python -m lib.ops.build --cuda
    python -m bench.cuda_operators                                                      # check, then time
    compute-sanitizer --tool memcheck python -m bench.cuda_operators --check
    compute-sanitizer --tool racecheck python -m bench.cuda_operators --check

Needs nvcc, and PyTorch with CUDA for memory, streams and an implementation to compare with; nothing else in the project
does. Checks compare with the numpy references of the tests. Times are medians, measured with CUDA events.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench import operators_reference as reference
from bench.operators_data import smooth_flow
from lib.errors import InputError, command
from lib.files import replacing
from lib.ops.build import CUDA_LIBRARY

SCALES, RATIOS = np.array([8, 16, 32], np.float32), np.array([0.5, 1, 2], np.float32)
KINDS = {"float32": 0, "float16": 1, "bfloat16": 2}


def modules():
    """(torch, library). Raises InputError if one is missing."""
    try:
        import torch
    except ImportError:
        raise InputError("PyTorch is not installed; this benchmark needs it, with CUDA") from None
    if not torch.cuda.is_available():
        raise InputError("PyTorch finds no CUDA device; this benchmark needs one")
    if not CUDA_LIBRARY.is_file():
        raise InputError(f"{CUDA_LIBRARY}: not built; run `python -m lib.ops.build --cuda`")
    return torch, ctypes.CDLL(str(CUDA_LIBRARY))


class Gpu:
    """Calls the kernels on tensors of one GPU."""

    def __init__(self) -> None:
        self.torch, self.library = modules()

    def tensor(self, array, kind: str = "float32"):
        return self.torch.as_tensor(np.asarray(array, np.float32), device="cuda").to(getattr(self.torch, kind))

    def empty(self, *shape: int):
        """A tensor of NaN, which a kernel must overwrite completely."""
        return self.torch.full(shape, float("nan"), device="cuda")

    def call(self, name: str, shape: tuple, *arguments) -> None:
        """shape: fields of the C structure. arguments: tensors, None, or int (passed by value)."""
        structure, keep = reference.structure(shape)
        values = [
            ctypes.c_void_p(a.data_ptr()) if hasattr(a, "data_ptr") else ctypes.c_int(a) if isinstance(a, int) else None
            for a in arguments
        ]
        stream = ctypes.c_void_p(self.torch.cuda.current_stream().cuda_stream)
        error = getattr(self.library, name)(ctypes.byref(structure), *values, stream)
        del keep
        if error:
            raise RuntimeError(f"{name}: CUDA error {error}")

    def seconds(self, run: Callable[[], object], runs: int) -> float:
        """Median time of a run on the GPU, after three warm-up runs."""
        times = []
        for number in range(runs + 3):
            start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            end.record()
            end.synchronize()
            if number >= 3:
                times.append(start.elapsed_time(end) / 1e3)
        return statistics.median(times)


def close(what: str, ours, expected, tolerance: float) -> None:
    expected = np.asarray(expected, np.float64)
    difference = np.abs(ours.float().cpu().numpy().reshape(expected.shape) - expected).max(initial=0)
    if not difference <= tolerance * max(1.0, np.abs(expected).max(initial=0)):
        raise AssertionError(f"{what}: differs by {difference}")


def check_warp(gpu: Gpu, rng) -> None:
    for shape in ((1, 1, 1, 1), (2, 19, 5, 7), (3, 40, 1, 37), (1, 5, 33, 9)):
        batch, _, height, width = shape
        data, gradient_above = rng.standard_normal(shape), rng.standard_normal(shape).astype(np.float32)
        flow = (rng.standard_normal((batch, 2, height, width)) * 3).astype(np.float32)
        d, f, g = gpu.tensor(data), gpu.tensor(flow), gpu.tensor(gradient_above)
        out, grad_data, grad_flow = gpu.empty(*shape), gpu.empty(*shape), gpu.empty(*flow.shape)
        gpu.call("fgfa_warp_forward_cuda", shape, d, f, out)
        close(f"warp {shape}", out, reference.warp(data.astype(np.float32), flow), 1e-5)
        gpu.call("fgfa_warp_backward_cuda", shape, g, d, f, grad_data, grad_flow)
        expected = reference.warp_gradients(data.astype(np.float32), flow, gradient_above)
        close(f"warp {shape}, gradient of data", grad_data, expected[0], 1e-4)
        close(f"warp {shape}, gradient of flow", grad_flow, expected[1], 1e-4)
    flow[0, 0, 0, :5] = -1.5, np.nan, np.inf, -np.inf, 1e30
    gpu.call("fgfa_warp_forward_cuda", shape, d, gpu.tensor(flow), out)
    if not (out[0, :, 0, :5] == 0).all():
        raise AssertionError("warp: flow that is not finite or leads outside the map must give zero")


def check_aggregate(gpu: Gpu, rng) -> None:
    sizes = ((1, 1, 1, 1, 1, 1), (3, 5, 5, 7, 4, 8), (5, 3, 9, 13, 33, 17), (2, 4, 3, 31, 1024, 2048))
    for slots, frames, height, width, channels, embedding in sizes:
        ring = rng.standard_normal((slots, height, width, channels + embedding)).astype(np.float32)
        flow = (rng.standard_normal((frames, 2, height, width)) * 2).astype(np.float32)
        order = rng.randint(0, slots, frames)
        shape = (slots, frames, height, width, channels, embedding, frames // 2)
        for kind, tolerance in (("float32", 2e-5), ("float16", 2e-5), ("bfloat16", 2e-5)):
            stored = gpu.tensor(ring, kind)
            expected = reference.aggregate(stored.float().cpu().numpy(), flow, order, channels, frames // 2)
            out, weights = gpu.empty(channels, height, width), gpu.empty(frames, height, width)
            inputs = (stored, gpu.tensor(flow), gpu.tensor(order))
            gpu.call("fgfa_aggregate_cuda", shape, KINDS[kind], *inputs, out, weights)
            close(f"aggregate {shape} {kind}", out, expected[0], tolerance)
            close(f"aggregate {shape} {kind}, weights", weights, expected[1], tolerance)
            gpu.call("fgfa_aggregate_cuda", shape, KINDS[kind], *inputs, out, None)


def check_psroi(gpu: Gpu, rng) -> None:
    for batch, outputs, group, height, width, regions in (
        (1, 1, 1, 1, 1, 1),
        (2, 3, 7, 9, 13, 300),
        (3, 2, 3, 1, 8, 40),
    ):
        data = rng.standard_normal((batch, outputs * group * group, height, width)).astype(np.float32)
        corners = rng.uniform(-40, 1, (regions, 4)) + rng.uniform(0, 1.2, (regions, 4)) * 16 * max(height, width)
        rois = np.column_stack([rng.randint(0, batch, regions), corners]).astype(np.float32)
        gradient_above = rng.standard_normal((regions, outputs)).astype(np.float32)
        shape = (batch, outputs, group, height, width, regions, 1 / 16)
        out, grad = gpu.empty(regions, outputs), gpu.empty(*data.shape)
        gpu.call("fgfa_psroi_mean_forward_cuda", shape, gpu.tensor(data), gpu.tensor(rois), out)
        close(f"psroi {shape}", out, reference.psroi_mean(data, rois, outputs, group, 1 / 16), 1e-5)
        gpu.call("fgfa_psroi_mean_backward_cuda", shape, gpu.tensor(gradient_above), gpu.tensor(rois), grad)
        expected = reference.psroi_gradient(data.shape, rois, gradient_above, group, 1 / 16)
        close(f"psroi {shape}, gradient", grad, expected, 1e-5)


def proposal_shape(batch: int, height: int, width: int, pre: int, post: int, threshold: float, least: float) -> tuple:
    return (batch, height, width, 3, 3, SCALES, RATIOS, 16.0, pre, post, threshold, least)


def propose(gpu: Gpu, shape: tuple, prob, deltas, info):
    structure, keep = reference.structure(shape)
    query = gpu.library.fgfa_multi_proposal_cuda_workspace
    query.restype = ctypes.c_int64
    workspace = gpu.torch.empty(query(ctypes.byref(structure)), dtype=gpu.torch.uint8, device="cuda")
    del keep
    rois, scores = gpu.empty(shape[0] * shape[9], 5), gpu.empty(shape[0] * shape[9])
    inputs = (prob, deltas, info, rois, scores, workspace)
    gpu.call("fgfa_multi_proposal_cuda", shape, *inputs)
    return rois, scores, lambda: gpu.call("fgfa_multi_proposal_cuda", shape, *inputs)


def check_proposal(gpu: Gpu, rng) -> None:
    for batch, height, width, pre, post, threshold, least in (
        (1, 1, 1, 6000, 300, 0.7, 0.0),
        (2, 5, 7, 6000, 300, 0.7, 0.0),
        (3, 12, 9, 100, 20, 0.5, 30.0),
        (1, 9, 13, 0, 300, 0.7, 0.0),
    ):
        prob = (rng.randint(0, 16, (batch, 18, height, width)) / 16).astype(np.float32)
        deltas = (rng.standard_normal((batch, 36, height, width)) * 0.4).astype(np.float32)
        info = np.array([[16 * height - 5, 16 * width, 1]] * batch, np.float32)
        shape = proposal_shape(batch, height, width, pre, post, threshold, least)
        rois, scores, _ = propose(gpu, shape, *map(gpu.tensor, (prob, deltas, info)))
        options = (16, SCALES, RATIOS, pre, post, threshold, least)
        for k in range(batch):
            boxes, values = reference.proposals_of_image(prob[k], deltas[k], info[k], *options)
            close(f"proposals {shape[:3]}", rois[k * post : (k + 1) * post, 1:], boxes, 1e-4)
            close(f"proposals {shape[:3]}, scores", scores[k * post : (k + 1) * post], values, 1e-6)


def torch_aggregate(gpu: Gpu, features, flow, channels: int, current: int):
    """The same computation in eager PyTorch: features (F, C + E, H, W) -> (1, C, H, W)."""
    torch, functional = gpu.torch, gpu.torch.nn.functional
    _, _, height, width = features.shape
    y, x = torch.meshgrid(torch.arange(height, device="cuda"), torch.arange(width, device="cuda"), indexing="ij")
    grid = torch.stack([(x + flow[:, 0]) * 2 / (width - 1) - 1, (y + flow[:, 1]) * 2 / (height - 1) - 1], dim=-1)
    warped = functional.grid_sample(features, grid.to(features.dtype), align_corners=True)
    embedding = functional.normalize(warped[:, channels:], dim=1)
    weights = torch.softmax((embedding * embedding[current : current + 1]).sum(dim=1, keepdim=True), dim=0)
    return (warped[:, :channels] * weights).sum(dim=0, keepdim=True)


def copy_bandwidth(gpu: Gpu, runs: int) -> float:
    """Bytes read and written per second when copying 1 GiB."""
    source = gpu.torch.empty(2**28, dtype=gpu.torch.float32, device="cuda").normal_()
    target = gpu.torch.empty_like(source)
    return 2 * source.numel() * 4 / gpu.seconds(lambda: target.copy_(source), runs)


def time_all(gpu: Gpu, runs: int) -> list[dict]:
    torch = gpu.torch
    frames, height, width, channels, embedding = 19, 36, 63, 1024, 2048
    rows = []
    bandwidth = copy_bandwidth(gpu, runs)
    rows.append({"what": "copy of 1 GiB", "bytes_per_second": bandwidth})
    flow, order = gpu.tensor(smooth_flow(frames, height, width)), gpu.tensor(np.arange(frames))
    shape = (frames, frames, height, width, channels, embedding, frames // 2)
    for kind in KINDS:
        ring = torch.empty(frames, height, width, channels + embedding, device="cuda").normal_()
        ring = ring.to(getattr(torch, kind))
        out = gpu.empty(channels, height, width)
        ours = gpu.seconds(
            lambda r=ring, o=out, k=kind: gpu.call("fgfa_aggregate_cuda", shape, KINDS[k], r, flow, order, o, None),
            runs,
        )
        for layout in ("channels first", "channels last"):
            maps = ring.permute(0, 3, 1, 2)
            maps = maps.contiguous() if layout == "channels first" else maps
            torch_seconds = gpu.seconds(lambda m=maps: torch_aggregate(gpu, m, flow, channels, frames // 2), runs)
            read = ring.numel() * ring.element_size() + flow.numel() * 4
            rows.append(
                {
                    "what": f"aggregate {kind}, torch {layout}",
                    "seconds": ours,
                    "torch_seconds": torch_seconds,
                    "ratio": torch_seconds / ours,
                    "share_of_copy_bandwidth": read / ours / bandwidth,
                }
            )
    data, two = torch.empty(2, channels, height, width, device="cuda").normal_(), flow[:2].contiguous()
    out, gradient_above, grad_flow = torch.empty_like(data), torch.ones_like(data), torch.empty_like(two)
    warp = ("fgfa_warp_forward_cuda", tuple(data.shape), data, two, out)
    rows.append({"what": "warp forward", "seconds": gpu.seconds(lambda: gpu.call(*warp), runs)})
    back = ("fgfa_warp_backward_cuda", tuple(data.shape), gradient_above, data, two, out, grad_flow)
    rows.append({"what": "warp backward", "seconds": gpu.seconds(lambda: gpu.call(*back), runs)})
    rng = np.random.RandomState(0)
    corner, size = rng.uniform(0, 0.7, (300, 2)), rng.uniform(0.05, 0.3, (300, 2))
    pixels = 16 * np.array([width, height])
    rois = gpu.tensor(np.column_stack([np.zeros(300), corner * pixels, (corner + size) * pixels]))
    maps = torch.empty(1, 49 * 31, height, width, device="cuda").normal_()
    scores = gpu.empty(300, 31)
    pooling = (1, 31, 7, height, width, 300, 1 / 16)
    forward = ("fgfa_psroi_mean_forward_cuda", pooling, maps, rois, scores)
    rows.append({"what": "pooling mean forward", "seconds": gpu.seconds(lambda: gpu.call(*forward), runs)})
    grad = torch.empty_like(maps)
    back_pool = ("fgfa_psroi_mean_backward_cuda", pooling, torch.ones_like(scores), rois, grad)
    rows.append({"what": "pooling mean backward", "seconds": gpu.seconds(lambda: gpu.call(*back_pool), runs)})
    prob, deltas = rng.uniform(size=(1, 18, height, width)), 0.2 * rng.standard_normal((1, 36, height, width))
    inputs = [gpu.tensor(a) for a in (prob, deltas, [[16 * height, 16 * width, 1]])]
    *_, again = propose(gpu, proposal_shape(1, height, width, 6000, 300, 0.7, 0.0), *inputs)
    rows.append({"what": "proposals", "seconds": gpu.seconds(again, runs)})
    return rows


@command
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="only compare with numpy, without timing (for compute-sanitizer)"
    )
    parser.add_argument(
        "--runs", type=int, default=30, help="runs of each kernel; the median is reported (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    args = parser.parse_args(argv)
    gpu = Gpu()
    rng = np.random.RandomState(0)
    for check in (check_warp, check_aggregate, check_psroi, check_proposal):
        check(gpu, rng)
        sys.stdout.write(f"{check.__name__}: equal to numpy\n")
    if args.check:
        return
    rows = time_all(gpu, args.runs)
    sys.stdout.write(f"{gpu.torch.cuda.get_device_name()}, PyTorch {gpu.torch.__version__}\n")
    for row in rows:
        sys.stdout.write(json.dumps(row) + "\n")
    if args.json:
        with replacing(args.json) as path:
            path.write_text(json.dumps({"device": gpu.torch.cuda.get_device_name(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
