"""What scripts share: options, and loading the settings."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from easydict import EasyDict

from lib.config import COMMON, Schema, load_config
from lib.defaults import unused
from lib.errors import InputError, start_logging
from lib.machine import launch
from lib.method import Method
from lib.settings import output_folder, weights_path

log = logging.getLogger(__name__)


def add_settings(parser: argparse.ArgumentParser, cfg: str | None = None, schema: Schema = COMMON) -> None:
    """Adds --cfg and --set, the arguments of `begin`. Without a default, --cfg is required."""
    # The one key whose meaning depends on the method.
    interval = schema.tree["TEST"].get("KEY_FRAME_INTERVAL", unused(0))
    note = "" if interval == unused(interval.default) else f". TEST.KEY_FRAME_INTERVAL: {interval.doc}"
    help_ = "YAML file of the network and its settings" + (" (default: %(default)s)" if cfg else "")
    parser.add_argument("--cfg", metavar="YAML", default=cfg, required=not cfg, help=help_)
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY.PATH=VALUE",
        help=f"settings that override the YAML, such as TEST.NMS=0.4{note}",
    )


def add_network(parser: argparse.ArgumentParser, cfg: str, weights: str, schema: Schema = COMMON) -> None:
    """Adds the options of `add_settings`, and --weights (see `weights_of`). cfg, weights: the bundled ones."""
    add_settings(parser, cfg, schema)
    help_ = f"trained weights (default: {weights}; with another --cfg, what training with it wrote)"
    parser.add_argument("--weights", metavar="FILE", help=help_)


def weights_of(args: argparse.Namespace, cfg: EasyDict, method: Method) -> str:
    """--weights, or else those that belong to --cfg: the bundled ones, or what training with it wrote.

    Raises InputError if there are none.
    """
    if args.weights is not None:
        return args.weights
    if os.path.realpath(args.cfg) == os.path.realpath(method.bundled.cfg):
        return method.bundled.weights
    trained = weights_path(cfg, output_folder(cfg, Path(args.cfg).stem, method.name, cfg.dataset.image_set))
    if not trained.is_file():
        raise InputError(f"{args.cfg}: training with it has not written {trained} yet; train, or give --weights")
    log.info("weights: %s", trained)
    return str(trained)


def begin(cfg_path: str | Path, overrides: Sequence[str], schema: Schema, *, starters: Sequence[str] = ()) -> EasyDict:
    """Starts logging and loads the settings of a method (see `load_config`).

    starters: what may start the script as one of several processes (`lib.machine.launch`), "torchrun", "DMLC_ROLE". Of
    these, only the first logs to the terminal.
    """
    started = launch()
    starter = "DMLC_ROLE" if started and started.server else "torchrun"
    if started and starter not in starters:
        raise InputError(f"{starter} is for the *_end2end_train_test.py scripts only; start this one with python")
    if started is None or started.first:
        start_logging()
    else:
        logging.basicConfig(level=logging.CRITICAL)
    return load_config(cfg_path, overrides, schema)
