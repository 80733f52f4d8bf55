"""A training step of FGFA on MiniVID with the compiled operators against one with MXNet's own.

    python -m bench.training_step

Weights and pictures are made up, sizes those of the MiniVID YAML file. Steps are taken in turns; medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from fgfa_rfcn.network import train_symbol
from lib.backends.mxnet.loader import mx
from lib.backends.mxnet.runtime import TrainStep
from lib.config import load_config
from lib.training.train import optimizer, trainable
from tests import tiny

CFG = "experiments/fgfa_rfcn/cfgs/resnet_small_flownet_minivid_rfcn_end2end_ohem.yaml"
FRAMES = ("data", "data_bef", "data_aft")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="steps of each, the median counts (default: %(default)s)")
    args = parser.parse_args(argv)
    times: dict[str, list[float]] = {"compiled": [], "builtin": []}
    steps = {}
    for operators in times:
        cfg = load_config(CFG, [f"network.OPERATORS={operators}"])
        batch = tiny.inputs(cfg, *cfg.SCALES, frames=FRAMES)
        weights = tiny.weights(cfg)
        names = trainable(weights[0], cfg.network.FIXED_PARAMS)
        steps[operators] = TrainStep(train_symbol(cfg), [mx.cpu()], *weights, names, optimizer(cfg)), batch
    for number in range(args.runs + 2):
        for operators, (step, batch) in steps.items():
            start = time.perf_counter()
            step.step([batch], 1e-6)
            if number >= 2:
                times[operators].append(time.perf_counter() - start)
    ours, theirs = (1e3 * statistics.median(times[operators]) for operators in times)
    sys.stdout.write(f"compiled {ours:.0f} ms, MXNet's own {theirs:.0f} ms, {theirs / ours:.2f} times as fast\n")


if __name__ == "__main__":
    main()
