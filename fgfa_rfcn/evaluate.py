"""Testing flow-guided feature aggregation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from easydict import EasyDict

from fgfa_rfcn.window import Inside, VideoDetector
from lib.eval.evaluation import Evaluation
from lib.inference import evaluate as engine


def make_detector(
    cfg: EasyDict,
    weights: str | Path,
    worker: int = 0,
    batch: int = 1,
    watch: Callable[[Inside], None] | None = None,
) -> VideoDetector:
    """A detector with weights from a file, `batch` frames at a time, on the device that is the turn of `worker`.

    watch: see `VideoDetector`. InputError: no such weights, or weights of another network.
    """
    return VideoDetector.load(cfg, weights, worker, batch, watch)


def evaluate(cfg: EasyDict, weights: Path, folder: Path) -> Evaluation:
    """Mean average precision on the test list; detections and results go to `folder`."""
    return engine.test(cfg, make_detector, weights, folder)
