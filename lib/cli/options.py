"""How scripts begin: logging, the options that they share, settings."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from easydict import EasyDict

from lib.config import Schema, load_config


def start_logging() -> None:
    """Shows progress and results on the terminal."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


def add_settings(parser: argparse.ArgumentParser, cfg: str | None = None) -> None:
    """The options --cfg and --set, as `begin` takes them; without a default, --cfg is required."""
    help_ = "YAML file of the network and its settings" + (" (default: %(default)s)" if cfg else "")
    parser.add_argument("--cfg", metavar="YAML", default=cfg, required=not cfg, help=help_)
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY.PATH=VALUE",
        help="settings that override the YAML, such as TEST.NMS=0.4",
    )


def add_network(parser: argparse.ArgumentParser, cfg: str, weights: str) -> None:
    """The options of `add_settings`, and --weights; cfg and weights are their defaults."""
    add_settings(parser, cfg)
    parser.add_argument("--weights", metavar="FILE", default=weights, help="trained weights (default: %(default)s)")


def begin(cfg_path: str | Path, overrides: Sequence[str], schema: Schema) -> EasyDict:
    """How a script that runs networks begins: logging, then the settings of its method (see `load_config`)."""
    start_logging()
    return load_config(cfg_path, overrides, schema)
