"""What the experiment scripts of every method share: train and then test, or test alone."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from easydict import EasyDict

from lib.cli.setup import add_settings, begin, check_folder, output_folder
from lib.eval.evaluation import Evaluation
from lib.eval.tables import report
from lib.inference.evaluate import weights_path

log = logging.getLogger(__name__)

Train = Callable[[EasyDict, Path], Path]
Evaluate = Callable[[EasyDict, Path, Path], Evaluation]


def train_test(argv: list[str] | None, doc: str, method: str, train: Train, evaluate: Evaluate) -> None:
    """Trains by a YAML file and tests the last weights."""
    parser = _parser(doc)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint (TRAIN.RESUME: true)")
    args = parser.parse_args(argv)
    cfg = begin(args.cfg, args.set)
    cfg.TRAIN.RESUME = cfg.TRAIN.RESUME or args.resume
    folder = output_folder(cfg, args.name or args.cfg, method, cfg.dataset.image_set)
    for each in (folder, _results(cfg, args, method)):
        check_folder(each)
    _test(cfg, args, method, evaluate, train(cfg, folder))


def test_only(argv: list[str] | None, doc: str, method: str, evaluate: Evaluate) -> None:
    """Tests weights by a YAML file: those given, or the checkpoint TEST.test_epoch of the training."""
    parser = _parser(doc)
    parser.add_argument("--weights", type=Path, help="parameter file (default: what the training by this YAML wrote)")
    args = parser.parse_args(argv)
    cfg = begin(args.cfg, args.set)
    trained = output_folder(cfg, args.name or args.cfg, method, cfg.dataset.image_set)
    _test(cfg, args, method, evaluate, args.weights or weights_path(cfg, trained))


def _parser(doc: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc)
    add_settings(parser)
    parser.add_argument("--name", help="name of the experiment in output folders (default: that of the YAML file)")
    parser.add_argument("--output", type=Path, help="folder for detections and results (default: under output_path)")
    return parser


def _results(cfg: EasyDict, args: argparse.Namespace, method: str) -> Path:
    """Where detections and results go."""
    return args.output or output_folder(cfg, args.name or args.cfg, method, cfg.dataset.test_image_set)


def _test(cfg: EasyDict, args: argparse.Namespace, method: str, evaluate: Evaluate, weights: Path) -> None:
    folder = _results(cfg, args, method)
    check_folder(folder)
    result = evaluate(cfg, weights, folder)
    log.info("%s\nwritten to %s", report(result).text(), folder)
