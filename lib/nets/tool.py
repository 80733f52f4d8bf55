"""Looks into parameter files, and makes them from those of other programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lib.errors import command
from lib.nets import inspection


@command
def main(argv: list[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    args.run(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.nets.params", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    inspect = commands.add_parser("inspect", help="what is in a file, and which network of ours it fits")
    inspect.add_argument("file", type=Path, help="parameter file")
    inspect.add_argument(
        "--cfg", type=Path, action="append", default=[], help="YAML of the network (default: all under experiments)"
    )
    inspect.add_argument("--method", default="", help="rfcn or fgfa_rfcn, where --cfg lies elsewhere")
    inspect.add_argument("--brief", action="store_true", help="do not list every parameter")
    inspect.set_defaults(run=_inspect)
    return parser


def _inspect(args: argparse.Namespace) -> None:
    known = inspection.networks(args.cfg, args.method)
    text, fits = inspection.report(args.file, known, listing=not args.brief)
    sys.stdout.write(text)
    if not fits:
        sys.exit(1)
