"""Testing the frame baseline."""

from __future__ import annotations

from pathlib import Path

from easydict import EasyDict

from lib.engine import evaluate as engine
from lib.engine.detect import FrameDetector
from lib.engine.runtime import device
from lib.eval.evaluation import Evaluation
from lib.nets import params
from rfcn.network import parameters, test_symbol


def make_detector(cfg: EasyDict, weights: str | Path, worker: int = 0, batch: int | None = None) -> FrameDetector:
    """A detector with weights from a file, `batch` frames at a time, on the device that is the turn of `worker`.

    InputError: no such weights, or weights of another network.
    """
    args, auxs = params.load(weights)
    args = params.for_test(args)
    symbol = test_symbol(cfg)
    wanted_args, wanted_auxs = parameters(cfg)
    params.check({**args, **auxs}, {**wanted_args, **wanted_auxs}, str(weights))
    return FrameDetector(symbol, device(cfg.gpus, worker), args, auxs, cfg, batch or cfg.TEST.BATCH_IMAGES)


def evaluate(cfg: EasyDict, weights: Path, folder: Path) -> Evaluation:
    """Mean average precision on the test list; detections and results go to `folder`."""
    return engine.test(cfg, make_detector, weights, folder)
