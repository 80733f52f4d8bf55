"""Checks and times the operators on a GPU: the CUDA kernels, and the compositions that replace them.

    python -m bench.cuda_operators                                            # check, then time
    compute-sanitizer --tool memcheck python -m bench.cuda_operators --check
    compute-sanitizer --tool racecheck python -m bench.cuda_operators --check

Needs PyTorch with CUDA. The kernels are those that NVRTC compiles for the PyTorch backend, and, after
`python -m lib.ops.build --cuda`, which needs nvcc, also those of MXNet's library. Checks compare with the numpy
references of the tests, and fail where an operator waits for the GPU. Times are medians, measured with CUDA events.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench import operators_reference as reference
from bench.operators_data import smooth_flow
from lib.errors import InputError, command
from lib.files import write_json
from lib.ops.build import CUDA_LIBRARY

try:
    import torch

    from lib.backends.torch.compositions import Compositions
    from lib.backends.torch.cuda import CudaOperators
    from lib.backends.torch.driver import Driver
    from lib.backends.torch.structures import AggregateShape, ProposalRules, PsroiShape
except ImportError:
    torch = None

SCALES, RATIOS = (8, 16, 32), (0.5, 1, 2)
KINDS = ("float32", "bfloat16")


def implementations() -> dict:
    """Operators by name. Raises InputError without a GPU."""
    if torch is None:
        raise InputError("PyTorch is not installed; this benchmark needs it, with CUDA")
    if not torch.cuda.is_available():
        raise InputError("PyTorch finds no CUDA device; this benchmark needs one")
    found = {"nvrtc": CudaOperators(Driver(torch.device("cuda", 0)))}
    if CUDA_LIBRARY.is_file():
        from bench.cuda_library import Library

        found["nvcc"] = Library()
    return {**found, "compositions": Compositions()}


def tensor(array, kind: str = "float32"):
    return torch.as_tensor(np.asarray(array, np.float32), device="cuda").to(getattr(torch, kind))


def queued(run: Callable, *arguments):
    """The result of an operator, which must not wait for the GPU: once by itself, once from a CUDA graph."""
    run(*arguments)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run(*arguments)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = run(*arguments)
    for each in found if isinstance(found, tuple) else (found,):
        each.fill_(float("nan"))  # the graph must overwrite it completely
    graph.replay()
    torch.cuda.synchronize()
    return found


def close(what: str, ours, expected, tolerance: float) -> None:
    expected = np.asarray(expected, np.float64)
    difference = np.abs(ours.float().cpu().numpy().reshape(expected.shape) - expected).max(initial=0)
    if not difference <= tolerance * max(1.0, np.abs(expected).max(initial=0)):
        raise AssertionError(f"{what}: differs by {difference}")


def check_warp(operators, rng) -> None:
    for shape in ((1, 1, 1, 1), (2, 19, 5, 7), (3, 40, 1, 37), (1, 5, 33, 9)):
        batch, _, height, width = shape
        data, above = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
        flow = (rng.standard_normal((batch, 2, height, width)) * 3).astype(np.float32)
        d, f, g = map(tensor, (data, flow, above))
        close(f"warp {shape}", queued(operators.warp, d, f), reference.warp(data, flow), 1e-5)
        found, expected = operators.warp_backward(g, d, f), reference.warp_gradients(data, flow, above)
        close(f"warp {shape}, gradient of data", found[0], expected[0], 1e-4)
        close(f"warp {shape}, gradient of flow", found[1], expected[1], 1e-4)
    flow[0, 0, 0, :5] = -1.5, np.nan, np.inf, -np.inf, 1e30
    if operators.warp(d, tensor(flow))[0, :, 0, :5].any():
        raise AssertionError("warp: flow that is not finite or leads outside the map must give zero")


def check_aggregate(operators, rng) -> None:
    sizes = ((1, 1, 1, 1, 1, 1), (3, 5, 5, 7, 4, 8), (5, 3, 9, 13, 33, 17), (2, 4, 3, 31, 1024, 2048))
    for slots, frames, height, width, channels, embedding in sizes:
        ring = rng.standard_normal((slots, height, width, channels + embedding))
        flow = (rng.standard_normal((frames, 2, height, width)) * 2).astype(np.float32)
        order = rng.randint(0, slots, frames)
        shape = AggregateShape(slots, frames, height, width, channels, embedding, frames // 2)
        for kind in KINDS:
            stored = tensor(ring, kind)
            expected = reference.aggregate(stored.float().cpu().numpy(), flow, order, channels, frames // 2)
            found = queued(operators.aggregate, shape, stored, tensor(flow), tensor(order))
            for what, ours, theirs in zip(("", ", weights"), found, expected):
                close(f"aggregate {tuple(stored.shape)} {kind}{what}", ours, theirs, 2e-5)


def check_psroi(operators, rng) -> None:
    for sizes in ((1, 1, 1, 1, 1, 1), (2, 3, 7, 9, 13, 300), (3, 2, 3, 1, 8, 40)):
        batch, outputs, group, height, width, count = sizes
        data = rng.standard_normal((batch, outputs * group * group, height, width)).astype(np.float32)
        corners = rng.uniform(-40, 1, (count, 4)) + rng.uniform(0, 1.2, (count, 4)) * 16 * max(height, width)
        rois = np.column_stack([rng.randint(0, batch, count), corners]).astype(np.float32)
        above = rng.standard_normal((count, outputs)).astype(np.float32)
        shape = PsroiShape(*sizes, 1 / 16)
        found = queued(operators.psroi_mean, shape, tensor(data), tensor(rois))
        close(f"pooling {sizes}", found, reference.psroi_mean(data, rois, outputs, group, 1 / 16), 1e-5)
        found = operators.psroi_mean_backward(shape, tensor(above), tensor(rois))
        expected = reference.psroi_gradient(data.shape, rois, above, group, 1 / 16)
        close(f"pooling {sizes}, gradient", found, expected, 1e-5)


def check_proposal(operators, rng) -> None:
    for batch, height, width, pre, post, threshold, least in (
        (1, 1, 1, 6000, 300, 0.7, 0.0),
        (2, 5, 7, 6000, 300, 0.7, 0.0),
        (3, 12, 9, 100, 20, 0.5, 30.0),
        (1, 9, 13, 0, 300, 0.7, 0.0),
        (1, 36, 63, 6000, 300, 0.7, 0.0),
    ):
        prob = (rng.randint(0, 16, (batch, 18, height, width)) / 16).astype(np.float32)
        deltas = (rng.standard_normal((batch, 36, height, width)) * 0.4).astype(np.float32)
        info = np.array([[16 * height - 5, 16 * width, 1]] * batch, np.float32)
        rules = ProposalRules(16, SCALES, RATIOS, pre, post, threshold, least)
        rois = queued(operators.multi_proposal, rules, *map(tensor, (prob, deltas, info)))
        for k in range(batch):
            options = (16, np.array(SCALES), np.array(RATIOS), pre, post, threshold, least)
            boxes, _ = reference.proposals_of_image(prob[k], deltas[k], info[k], *options)
            close(f"proposals {prob.shape}", rois[k * post : (k + 1) * post, 1:], boxes, 1e-4)


def seconds(run: Callable[[], object], runs: int) -> float:
    """Median time of a run on the GPU, after three warm-up runs."""
    times = []
    for number in range(runs + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        if number >= 3:
            times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times)


def copy_bandwidth(runs: int) -> float:
    """Bytes read and written per second when copying 1 GiB."""
    source = torch.empty(2**28, dtype=torch.float32, device="cuda").normal_()
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / seconds(lambda: target.copy_(source), runs)


def time_all(named: dict, runs: int) -> list[dict]:
    """On the maps of a 562 x 1000 image. The share of the copy bandwidth counts each value of the ring once."""
    frames, height, width, channels, embedding = 19, 36, 63, 1024, 2048
    bandwidth, rng = copy_bandwidth(runs), np.random.RandomState(0)
    rows: list[dict] = [{"what": "copy of 1 GiB", "bytes_per_second": bandwidth}]
    flow, order = tensor(smooth_flow(frames, height, width)), tensor(np.arange(frames))
    window = AggregateShape(frames, frames, height, width, channels, embedding, frames // 2)
    ring = torch.empty(frames, height, width, channels + embedding, device="cuda").normal_()
    data, two = torch.empty(2, channels, height, width, device="cuda").normal_(), flow[:2].contiguous()
    corner, size = rng.uniform(0, 0.7, (300, 2)), rng.uniform(0.05, 0.3, (300, 2))
    pixels = 16 * np.array([width, height])
    rois = tensor(np.column_stack([np.zeros(300), corner * pixels, (corner + size) * pixels]))
    maps, pooling = torch.empty(1, 49 * 31, height, width, device="cuda").normal_(), (1, 31, 7, height, width, 300)
    prob, deltas = rng.uniform(size=(1, 18, height, width)), 0.2 * rng.standard_normal((1, 36, height, width))
    heads = [tensor(a) for a in (prob, deltas, [[16 * height, 16 * width, 1]])]
    rules, shape = ProposalRules(16, SCALES, RATIOS, 6000, 300, 0.7, 0.0), PsroiShape(*pooling, 1 / 16)
    above = torch.ones(300, 31, device="cuda")
    for name, operators in named.items():
        for kind in KINDS:
            stored = ring.to(getattr(torch, kind))
            taken = seconds(lambda o=operators, s=stored: o.aggregate(window, s, flow, order), runs)
            read = stored.numel() * stored.element_size() + flow.numel() * 4
            share = read / taken / bandwidth
            rows.append({"what": f"aggregate {kind}", "by": name, "seconds": taken, "share_of_copy_bandwidth": share})
        for what, run in {
            "warp forward": lambda o=operators: o.warp(data, two),
            "warp backward": lambda o=operators: o.warp_backward(data, data, two),
            "pooling mean forward": lambda o=operators: o.psroi_mean(shape, maps, rois),
            "pooling mean backward": lambda o=operators: o.psroi_mean_backward(shape, above, rois),
            "proposals": lambda o=operators: o.multi_proposal(rules, *heads),
        }.items():
            rows.append({"what": what, "by": name, "seconds": seconds(run, runs)})
    return rows


@command
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="only compare with numpy, without timing (for compute-sanitizer)"
    )
    parser.add_argument(
        "--runs", type=int, default=30, help="runs of each operator; the median is reported (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    args = parser.parse_args(argv)
    named = implementations()
    for name, operators in named.items():
        for check in (check_warp, check_aggregate, check_psroi, check_proposal):
            check(operators, np.random.RandomState(0))
            sys.stdout.write(f"{name}, {check.__name__}: equal to numpy\n")
    if args.check:
        return
    rows, device = time_all(named, args.runs), torch.cuda.get_device_name()
    sys.stdout.write(f"{device}, PyTorch {torch.__version__}\n")
    for row in rows:
        sys.stdout.write(json.dumps(row) + "\n")
    if args.json:
        write_json(args.json, {"device": device, "rows": rows})


if __name__ == "__main__":
    main()
