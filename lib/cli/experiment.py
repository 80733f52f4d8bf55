"""What the experiment scripts of all methods share: train and then test, or only test."""

from __future__ import annotations

import argparse
import contextlib
import logging
import shlex
from collections.abc import Iterator
from pathlib import Path

from easydict import EasyDict

from lib.argument import Parser
from lib.cli.options import add_settings, begin
from lib.cli.signals import log_file, stop_requested
from lib.errors import command, quoted
from lib.eval.tables import report
from lib.inference.evaluate import detect_shard, evaluate_detector
from lib.inference.parts import Shard
from lib.machine import ALONE, launch, task
from lib.method import Method
from lib.output_paths import check_folder
from lib.reading import is_plain
from lib.settings import output_folder, weights_path
from lib.training.checkpoints import averaged
from lib.training.train import train

log = logging.getLogger(__name__)


@command
def train_and_test(argv: list[str] | None, method: Method) -> None:
    """Trains with the settings of a YAML file and tests the final weights. torchrun may start it in several processes,
    and so may the roles of MXNet's parameter server (DMLC_ROLE); the first process tests.
    """
    parser = _parser(
        f"Train {method.title} end to end, then test it on the videos of the test list; writes weights and results.",
        method,
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue from the newest checkpoint (TRAIN.RESUME: true)"
    )
    parser.add_argument("--allow-callback", action="store_true", help="run the function that TRAIN.CALLBACK names")
    args = parser.parse_args(argv)
    cfg = begin(args.cfg, args.set, method.schema, starters=("torchrun", "DMLC_ROLE"))
    first = (launch() or ALONE).first
    cfg.TRAIN.RESUME = cfg.TRAIN.RESUME or args.resume
    folder = output_folder(cfg, _name(args), method.name, cfg.dataset.image_set)
    for each in (folder, _results(cfg, args, method)):
        check_folder(each)
    with log_file(folder / "train.log") if first else contextlib.nullcontext(), stop_requested(say=first) as stopped:
        weights = train(cfg, method, folder, stopped=stopped, allow_callback=args.allow_callback)
    if first:
        _test(cfg, args, method, weights)
        with log_file(folder / "train.log"):
            _say_where(args, method, folder, weights)


def _say_where(args: argparse.Namespace, method: Method, folder: Path, weights: Path) -> None:
    """Logs where the results of a training are, and how to test them again."""
    again = ["python", f"experiments/{method.name}/{method.name}_test.py", "--cfg", args.cfg, "--weights", weights]
    again += ["--name", args.name] if args.name else []
    again += ["--set", *args.set] if args.set else []
    others = [path for path in (weights.with_name(f"{weights.stem.rpartition('-')[0]}-best.params"), averaged(weights))
              if path.is_file()]  # fmt: skip
    log.info(
        "weights %s, log %s, curves %s; test again with: %s%s",
        *(weights, folder / "train.log", folder / "losses.png", shlex.join(map(str, again))),
        f"; other weights: {', '.join(map(str, others))}" if others else "",
    )


@command
def test_only(argv: list[str] | None, method: Method) -> None:
    """Tests weights with the settings of a YAML file: --weights, or the checkpoint after epoch TEST.test_epoch.

    With --shard, or where torchrun or srun started several processes, each detects in its share of the videos.
    """
    parser = _parser(f"Test {method.title} on the videos of the test list; writes detections and results.", method)
    parser.add_argument("--weights", type=Path, help="parameter file (default: the result of training with this YAML)")
    share = parser.add_mutually_exclusive_group()
    share.add_argument(
        "--shard",
        metavar="N/COUNT",
        help="detect only in part N, from 1, of COUNT, and do not evaluate (default: from the environment of torchrun "
        "or srun, where one of them started the script)",
    )
    share.add_argument("--merge", type=Path, metavar="FOLDER", help="evaluate the parts in this folder")
    args = parser.parse_args(argv)
    cfg = begin(args.cfg, args.set, method.schema, starters=("torchrun",))
    trained = output_folder(cfg, _name(args), method.name, cfg.dataset.image_set)
    weights = args.weights or weights_path(cfg, trained)
    shard = None if args.merge else _shard(args.shard, cfg)
    if shard is None:
        _test(cfg, args, method, weights, args.merge)
        return
    folder = _results(cfg, args, method)
    check_folder(folder)
    with _interruptible():
        parts = detect_shard(cfg, method.detector.load, weights, folder, shard)
    log.info("part %s is finished; when all are, evaluate them with the same command and --merge %s", shard, parts)


def _shard(option: str | None, cfg: EasyDict) -> Shard | None:
    """The part of the test that this process runs; None: all of it. Where the environment says which, the process
    takes the GPU of its number on the machine, from those of the settings.
    """
    if option:
        return Shard.parse(option)
    place = task()
    if place is None or place.count == 1:
        return None
    gpus = cfg.gpus.split(",")
    cfg.gpus = gpus[place.local % len(gpus)]
    return Shard(place.rank + 1, place.count)


def _parser(doc: str, method: Method) -> argparse.ArgumentParser:
    parser = Parser(description=doc)
    add_settings(parser, schema=method.schema)
    parser.add_argument(
        "--name", type=_plain, help="name of the experiment in output folders (default: the name of the YAML file)"
    )
    parser.add_argument("--output", type=Path, help="folder for detections and results (default: under output_path)")
    return parser


def _plain(name: str) -> str:
    if not is_plain(name):
        raise argparse.ArgumentTypeError(f"{quoted(name)}: use letters, digits, blanks and _ . + - only")
    return name


def _name(args: argparse.Namespace) -> str:
    """The name of the experiment."""
    return args.name or Path(args.cfg).stem


def _results(cfg: EasyDict, args: argparse.Namespace, method: Method) -> Path:
    """The folder for detections and results."""
    return args.output or output_folder(cfg, _name(args), method.name, cfg.dataset.test_image_set)


def _test(cfg: EasyDict, args: argparse.Namespace, method: Method, weights: Path, merge: Path | None = None) -> None:
    folder = _results(cfg, args, method)
    check_folder(folder)
    with _interruptible():
        result = evaluate_detector(cfg, method.detector.load, weights, folder, merge=merge)
    log.info("%s\nwritten to %s", report(result).text(), folder)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ends the program with status 130 and a hint on Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        log.warning("interrupted; the test continues after the last finished video if you start it again")
        raise SystemExit(130) from None
