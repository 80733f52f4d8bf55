"""Times a training step of FGFA on MiniVID with the compiled operators and with MXNet's own.

    python -m bench.training_step

Weights and images are synthetic, with the sizes of the MiniVID YAML file. The two take turns; medians are reported.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np
from easydict import EasyDict

from bench.weights import synthetic
from lib.backends.mxnet.backend import MXNet
from lib.config import load_config
from lib.methods import METHODS
from lib.training.train import optimizer, trainable

METHOD = METHODS["fgfa_rfcn"]


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


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--runs", type=int, default=20, help="steps of each; the median is reported (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    times: dict[str, list[float]] = {"compiled": [], "builtin": []}
    trainers = {}
    for operators in times:
        cfg, backend = load_config(METHOD.bundled.cfg, [], METHOD.schema), MXNet(operators)
        weights, auxs = synthetic(METHOD, cfg, backend)
        names = trainable(weights, cfg.network.FIXED_PARAMS)
        trainer = backend.trainer(
            lambda F, cfg=cfg: METHOD.losses(F, cfg), backend.devices(""), weights, auxs, names, optimizer(cfg)
        )
        trainers[operators] = trainer, batch(cfg)
    for number in range(args.runs + 2):
        for operators, (trainer, inputs) in trainers.items():
            start = time.perf_counter()
            trainer.step([inputs], 1e-6)
            if number >= 2:
                times[operators].append(time.perf_counter() - start)
    compiled, builtin = (1e3 * statistics.median(times[operators]) for operators in times)
    sys.stdout.write(
        f"compiled {compiled:.0f} ms, MXNet's own {builtin:.0f} ms, {builtin / compiled:.2f} times as fast\n"
    )


if __name__ == "__main__":
    main()
