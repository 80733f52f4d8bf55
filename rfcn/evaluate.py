"""Testing the frame baseline."""

from __future__ import annotations

from pathlib import Path

from easydict import EasyDict

from lib.eval.evaluation import Evaluation
from lib.inference import evaluate as engine
from rfcn.detector import FrameDetector


def make_detector(cfg: EasyDict, weights: str | Path, worker: int = 0, batch: int | None = None) -> FrameDetector:
    """A detector with weights from a file, `batch` frames at a time, on the device that is the turn of `worker`.

    InputError: no such weights, or weights of another network.
    """
    return FrameDetector.load(cfg, weights, worker, batch)


def evaluate(cfg: EasyDict, weights: Path, folder: Path) -> Evaluation:
    """Mean average precision on the test list; detections and results go to `folder`."""
    return engine.test(cfg, make_detector, weights, folder)
