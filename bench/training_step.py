"""Times a training step of FGFA.

    python -m bench.training_step                                   # MiniVID on the CPU: MXNet and PyTorch in turns
    python -m bench.training_step --backend torch --device cuda     # the published network at 600 x 1000 on a GPU
    python -m bench.training_step --backend torch --device cuda --precision bfloat16

Weights and images are synthetic; medians are reported. `compiled` and `builtin` are MXNet with the compiled operators
and with its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path

import numpy as np
from easydict import EasyDict

from bench.turns import Contestant, device_of, device_options, in_turns, installed, memory, say, seconds, serve
from bench.weights import synthetic
from lib.backends.base import ALONE, Backend, Processes, Trainer
from lib.backends.choice import make_backend
from lib.config import load_config
from lib.errors import command
from lib.files import write_json
from lib.machine import cores
from lib.methods import METHODS
from lib.training.train import optimizer, trainable

METHOD = METHODS["fgfa_rfcn"]
CONTESTANTS = ("compiled", "builtin", "torch")
GOAL = 0.150  # seconds, on an H100 or H200


def batch(cfg: EasyDict) -> dict[str, np.ndarray]:
    """Noise with two boxes and random labels."""
    rng = np.random.default_rng(0)
    height, width = cfg.SCALES
    cells = [-(-side // cfg.network.RPN_FEAT_STRIDE) for side in (height, width)]
    anchors = cfg.network.NUM_ANCHORS
    label = rng.choice([-1, 0, 1], (1, anchors, *cells), p=[0.7, 0.2, 0.1])
    arrays = {name: rng.normal(0, 50, (1, 3, height, width)) for name in ("data", "data_bef", "data_aft")}
    arrays["im_info"] = np.array([[height, width, 1]])
    arrays["gt_boxes"] = np.array([[[5, 6, 30, 35, 1], [20, 10, 44, 28, 3]]])
    arrays["label"] = label.reshape(1, -1)
    arrays["bbox_target"] = rng.normal(size=(1, 4 * anchors, *cells))
    arrays["bbox_weight"] = np.repeat(label == 1, 4, axis=1)
    return {name: value.astype(np.float32) for name, value in arrays.items()}


def trainer(cfg: EasyDict, backend: Backend, gpus: str = "", processes: Processes = ALONE) -> Trainer:
    weights, auxs = synthetic(METHOD, cfg, backend)
    names = trainable(weights, cfg.network.FIXED_PARAMS)
    return backend.trainer(
        lambda F: METHOD.losses(F, cfg),
        backend.devices(gpus),
        weights,
        auxs,
        names,
        optimizer(cfg),
        precision=cfg.TRAIN.PRECISION,
        processes=processes,
    )


def alone(name: str) -> None:
    """A contestant on MiniVID: one step for each line of the input."""
    cfg = load_config(METHOD.bundled.cfg, [], METHOD.schema)
    if name == "builtin":
        cfg.network.OPERATORS = name
    learner, inputs = trainer(cfg, make_backend("torch" if name == "torch" else "mxnet", cfg)), batch(cfg)
    for _ in range(2):
        learner.step([inputs], 1e-6)
    serve(lambda: learner.step([inputs], 1e-6))


def compare(runs: int) -> dict[str, float]:
    """Median seconds of each contestant on MiniVID."""
    started = {}
    try:
        for name in installed(CONTESTANTS, lambda name: "torch" if name == "torch" else "mxnet"):
            started[name] = Contestant("bench.training_step", "--alone", name, threads=cores())
        medians = {name: statistics.median(times) for name, times in in_turns(started, runs).items()}
    finally:
        for contestant in started.values():
            contestant.stop()
    reference, base = next(iter(medians.items()), ("", 0.0))
    for name, median in medians.items():
        say(f"{name}: {1e3 * median:.0f} ms per step, {base / median:.2f} times as fast as {reference}")
    return medians


def on_device(device: str, size: tuple[int, int], runs: int, kind: str = "float32") -> dict[str, float]:
    """The published network in PyTorch, for images of this size (height, width): median seconds, gigabytes.

    kind: `TRAIN.PRECISION`.
    """
    cfg = load_config(METHOD.published.cfg, [f"TRAIN.PRECISION={kind}"], METHOD.schema)
    cfg.SCALES = list(size)
    learner, inputs = trainer(cfg, make_backend("torch", cfg), "0" if device == "cuda" else ""), batch(cfg)
    # A step copies its losses to the host, so only the update may be unfinished when it returns; the next waits for it.
    taken = [seconds(lambda: learner.step([inputs], 1e-6)) for _ in range(runs + 3)]
    figures = {"step": statistics.median(taken[3:]), "gigabytes": peak_gigabytes(device)}
    say(
        f"training step at {size[0]} x {size[1]} on {device} in {kind}: {1e3 * figures['step']:.0f} ms, "
        f"{figures['gigabytes']:.2f} GB; goal on an H100: {1e3 * GOAL:.0f} ms"
    )
    return figures


def peak_gigabytes(device: str) -> float:
    """The most memory since the last reset of PyTorch's figures on a GPU, else of this process so far."""
    if device != "cuda":
        return memory("VmHWM") / 1e9
    from lib.backends.torch.loader import torch

    return torch.cuda.max_memory_reserved() / 1e9


@command
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="steps timed of each (default: %(default)s)")
    parser.add_argument("--alone", choices=CONTESTANTS, help="one contestant, one step for each line of the input")
    device_options(parser)
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="with --device: TRAIN.PRECISION (default: float32)",
    )
    parser.add_argument(
        "--size", type=int, nargs=2, default=(600, 1000), help="with --device: of the images (default: 600 1000)"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", str(cores()))
    if args.alone:
        alone(args.alone)
        return
    if device_of(args):
        figures = on_device(args.device, tuple(args.size), args.runs, args.precision)
    else:
        figures = compare(args.runs)
    if args.json:
        write_json(args.json, figures)


if __name__ == "__main__":
    main()
