"""Times the compiled operators and the same operators composed from MXNet's own.

    python -m bench.operators

Sizes are those of a 562x1000 image and a window of 19 frames. Inputs are synthetic; flow changes smoothly, as that of a
flow network does. The two versions take turns, so that other load affects both equally, and their medians are compared.
On a shared machine, `OMP_NUM_THREADS=1 python -m bench.operators --clock processor` measures processor time instead of
wall-clock time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.operators_data import smooth_flow
from lib.backends.mxnet.functions import Builtin, Compiled
from lib.backends.mxnet.loader import mx
from lib.files import write_json
from lib.nets.aggregation import aggregate

ANCHORS = {"feature_stride": 16, "scales": (8, 16, 32), "ratios": (0.5, 1, 2), "nms_threshold": 0.7, "min_size": 0}
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
COMPILED, BUILTIN = Compiled(), Builtin()
PROPOSALS = {**ANCHORS, "pre_nms_top_n": 6000, "post_nms_top_n": 300}


def runner(build: Callable, arrays: dict, gradient: bool) -> Callable[[], None]:
    """Binds build(*variables) to the arrays. The function returned runs it forward, and backward if `gradient`."""
    symbol = build(*(mx.sym.Variable(name) for name in arrays))
    shapes = {name: array.shape for name, array in arrays.items()}
    executor = symbol.simple_bind(mx.cpu(), grad_req="write" if gradient else "null", **shapes)
    for name, array in arrays.items():
        executor.arg_dict[name][:] = array
    output_gradients = [mx.nd.ones(out.shape) for out in executor.outputs] if gradient else []

    def run() -> None:
        executor.forward(is_train=gradient)
        if gradient:
            executor.backward(output_gradients)
        mx.nd.waitall()

    return run


def medians(runs: int, clock: Callable[[], float], *contestants: Callable[[], None]) -> list[float]:
    """Median seconds of each, after one warm-up run."""
    taken: list[list[float]] = [[] for _ in contestants]
    for number in range(runs + 1):
        for contestant, times in zip(contestants, taken):
            start = clock()
            contestant()
            if number:
                times.append(clock() - start)
    return [statistics.median(times) for times in taken]


def cases(frames: int, height: int, width: int, channels: int, embedding: int) -> dict[str, Callable]:
    """Name -> function that returns runners of the (compiled, composed) versions."""
    rng = np.random.RandomState(0)
    flow = smooth_flow(frames, height, width)
    normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731

    def aggregation() -> tuple[Callable, Callable]:
        options = {"feature_channels": channels, "current": frames // 2, "name": "aggregated"}
        order = np.arange(frames)
        ring = mx.nd.random.normal(shape=(frames, channels + embedding, height, width))
        rings = {COMPILED: mx.nd.transpose(ring, axes=(0, 2, 3, 1)), BUILTIN: ring}
        return tuple(
            runner(lambda *a, F=F: aggregate(F, *a, **options)[0], {"ring": r, "flow": flow, "order": order}, False)
            for F, r in rings.items()
        )

    def warping(gradient: bool) -> tuple[Callable, Callable]:
        arrays = {"data": normal(2, channels, height, width), "flow": flow[:2]}
        return runner(COMPILED.warp, arrays, gradient), runner(BUILTIN.warp, arrays, gradient)

    def proposals() -> tuple[Callable, Callable]:
        arrays = {
            "cls_prob": rng.uniform(size=(1, 18, height, width)),
            "bbox_pred": 0.2 * normal(1, 36, height, width),
            "im_info": np.array([[16 * height, 16 * width, 1]]),
        }
        return tuple(
            runner(lambda *a, F=F: F.multi_proposal(*a, **PROPOSALS), arrays, False) for F in (COMPILED, BUILTIN)
        )

    def pooling(gradient: bool) -> tuple[Callable, Callable]:
        corner = rng.uniform(0, 0.7, (300, 2)) * 16 * np.array([width, height])
        size = rng.uniform(0.05, 0.3, (300, 2)) * 16 * np.array([width, height])
        arrays = {
            "data": normal(1, 49 * 31, height, width),
            "rois": np.column_stack([np.zeros(300), corner, corner + size]),
        }
        options = {"output_dim": 31, "group_size": 7, "spatial_scale": 1 / 16}
        return tuple(runner(lambda *a, F=F: F.psroi_mean(*a, **options), arrays, gradient) for F in (COMPILED, BUILTIN))

    return {
        f"aggregation, {frames} frames x {channels + embedding} x {height} x {width}": aggregation,
        f"warp, 2 x {channels} channels": lambda: warping(False),
        f"warp, 2 x {channels} channels, and its gradients": lambda: warping(True),
        "proposals, one image": proposals,
        "pooling mean, 300 regions x 31 classes": lambda: pooling(False),
        "pooling mean, 300 regions x 31 classes, and its gradient": lambda: pooling(True),
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=19, help="frames in the window (default: 19)")
    parser.add_argument("--height", type=int, default=36, help="rows of the feature map (default: 36)")
    parser.add_argument("--width", type=int, default=63, help="columns of the feature map (default: 63)")
    parser.add_argument("--channels", type=int, default=1024, help="channels of the feature (default: 1024)")
    parser.add_argument("--embedding", type=int, default=2048, help="channels of the embedding (default: 2048)")
    parser.add_argument(
        "--runs", type=int, default=7, help="runs of each; the median is reported (default: %(default)s)"
    )
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="clock to measure with (default: %(default)s)")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    args = parser.parse_args(argv)
    rows = []
    for name, make in cases(args.frames, args.height, args.width, args.channels, args.embedding).items():
        if args.only not in name:
            continue
        compiled, composed = medians(args.runs, CLOCKS[args.clock], *make())
        rows.append({"operator": name, "compiled_s": compiled, "mxnet_s": composed, "ratio": composed / compiled})
    sys.stdout.write("| operator | compiled | MXNet's own | speed-up |\n|---|---|---|---|\n")
    for row in rows:
        times = f"{1e3 * row['compiled_s']:.1f} ms | {1e3 * row['mxnet_s']:.1f} ms"
        sys.stdout.write(f"| {row['operator']} | {times} | {row['ratio']:.1f} |\n")
    if args.json:
        write_json(args.json, rows)


if __name__ == "__main__":
    main()
