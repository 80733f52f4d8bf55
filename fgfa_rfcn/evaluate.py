"""Testing flow-guided feature aggregation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from easydict import EasyDict

from fgfa_rfcn.network import detection_symbol, feature_symbol, window_frames
from fgfa_rfcn.window import Inside, VideoDetector
from lib.engine import evaluate as engine
from lib.engine.runtime import device
from lib.eval.evaluation import Evaluation
from lib.nets import params
from lib.nets.flownet import is_flow_layer


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
    args, auxs = params.load(weights)
    args = params.for_test(args)
    if not cfg.TEST.WARP:  # weights with a flow network and without serve alike
        args = {name: value for name, value in args.items() if not is_flow_layer(name)}
    data = (1, 3, *cfg.SCALES)
    features, detection = feature_symbol(cfg), detection_symbol(cfg)
    _, (cells,), _ = features.infer_shape(data=data)
    frames = window_frames(cfg)
    inputs = {"data_cache": (frames, *data[1:]), "feat_cache": (frames, *cells[1:]), "order": (1, frames)}
    wanted, wanted_auxs = params.shapes_of(features, data=data)
    wanted.update(params.shapes_of(detection, data=data, im_info=(1, 3), **inputs)[0])
    params.check({**args, **auxs}, {**wanted, **wanted_auxs}, str(weights))
    return VideoDetector(device(cfg.gpus, worker), args, auxs, cfg, batch, watch)


def evaluate(cfg: EasyDict, weights: Path, folder: Path) -> Evaluation:
    """Mean average precision on the test list; detections and results go to `folder`."""
    return engine.test(cfg, make_detector, weights, folder)
