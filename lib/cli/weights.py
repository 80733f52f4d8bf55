"""Inspects parameter files, and converts weights of other programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from easydict import EasyDict

from lib.argument import Parser, real
from lib.cli import inspection
from lib.config import load_config, make_config
from lib.errors import InputError, command
from lib.methods import METHODS, method_named, method_of
from lib.nets import params, sizes
from lib.nets.convert import flownet, resnet
from lib.nets.convert.caffe_file import read_caffemodel
from lib.nets.convert.layers import Converted
from lib.nets.convert.torch_file import read_state
from lib.output_paths import check_distinct, check_output
from lib.reading import foreign

METHOD_HELP = "method of --cfg, if that file is not in experiments/<method>/cfgs"


@command
def main(argv: list[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    args.run(args)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m lib.nets.params", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    inspect = commands.add_parser("inspect", help="show what a file contains and which network it fits")
    inspect.add_argument("file", type=Path, help="parameter file")
    inspect.add_argument(
        "--cfg", type=Path, action="append", default=[], help="YAML of the network (default: all under experiments)"
    )
    inspect.add_argument(
        "--method",
        default="",
        choices=("", *METHODS),
        help=METHOD_HELP,
    )
    inspect.add_argument("--brief", action="store_true", help="do not list every parameter")
    inspect.set_defaults(run=_inspect)
    convert = commands.add_parser(
        "convert",
        help="convert a torchvision ResNet-50, 101 or 152, a PyTorch FlowNetS, or Caffe models to a parameter file",
        description="Converts a torchvision ResNet-50, 101 or 152 state dict (.pth), a PyTorch FlowNetS checkpoint "
        "(.pth, .pth.tar), or a Caffe ResNet or FlowNetS (.caffemodel) to a parameter file. The names in the file show "
        "which of them it is. docs/weights.md describes what is exact and what differs.",
    )
    convert.add_argument("source", type=Path, help="file to read")
    convert.add_argument("out", type=Path, help="parameter file to write, such as model/pretrained_model/X-0000.params")
    convert.add_argument(
        "--cfg",
        type=Path,
        help="YAML of the network to be trained from it: the weights are adapted to its PIXEL_MEANS, sizes and "
        "epsilon, and rejected if they do not fit (default: the published settings of R-FCN, unchecked)",
    )
    convert.add_argument(
        "--method",
        default="",
        choices=("", *METHODS),
        help=METHOD_HELP,
    )
    convert.add_argument(
        "--source-means",
        nargs=3,
        type=real(-1e6, 1e6),
        metavar=("RED", "GREEN", "BLUE"),
        help="flow networks only: the means that the original program subtracts from colours of 0 to 255",
    )
    convert.set_defaults(run=_convert)
    return parser


def _inspect(args: argparse.Namespace) -> None:
    known = inspection.networks(args.cfg, args.method)
    text, fits = inspection.report(args.file, known, listing=not args.brief)
    sys.stdout.write(text)
    if not fits:
        sys.exit(1)


def _convert(args: argparse.Namespace) -> None:
    if args.method or not args.cfg:
        method = method_named(args.method or "rfcn", "--method")
    else:
        method = method_of(args.cfg)
    eps = method.eps
    # Without a YAML file the method is unknown; the schema with a flow network fits all of them.
    cfg = load_config(args.cfg, schema=method.schema) if args.cfg else make_config({}, METHODS["fgfa_rfcn"].schema)
    if args.out.suffix != ".params":
        raise InputError(f"{args.out}: must end in .params; the YAML names it without -0000.params")
    check_distinct([args.source, args.cfg], [check_output(args.out, pipes=False)])
    try:
        with foreign(args.source, "cannot be converted, its layers are not those expected", "pass another file"):
            part, stride_in_3x3, found = _read(args.source, cfg, eps, args.source_means)
    except InputError as error:
        if str(error).startswith(str(args.source)):
            raise
        raise InputError(f"{args.source}: {error}") from None
    if args.cfg:
        if stride_in_3x3 not in (None, cfg.network.STRIDE_IN_3X3):
            wanted = str(stride_in_3x3).lower()
            raise InputError(f"{args.cfg}: network.STRIDE_IN_3X3 must be {wanted} for {args.source}; set it")
        _check_fit(found, args.cfg, method.name, part)
    broken = [name for name, value in {**found.args, **found.auxs}.items() if not np.isfinite(value).all()]
    if broken:
        raise InputError(f"{args.source}: {broken[0]} is not finite; get the file again")
    params.save(args.out, found.args, found.auxs)
    lines = [f"{args.out}: the {part}, {len(found.args)} arguments, {len(found.auxs)} auxiliary states"]
    lines += [f"unused: {', '.join(found.unused)}"] if found.unused else []
    lines += ["the YAML must set network.STRIDE_IN_3X3: true"] if stride_in_3x3 else []
    sys.stdout.write("\n".join(lines) + "\n")


def _read(
    source: Path, cfg: EasyDict, eps: float, source_means: list[float] | None
) -> tuple[str, bool | None, Converted]:
    """(part of our network, the STRIDE_IN_3X3 that it needs, the parameters). The second is None for a flow network."""
    means = cfg.network.PIXEL_MEANS
    if source.suffix == ".caffemodel":
        layers = read_caffemodel(source)
        if "conv3_1" in layers:
            return "flow network", None, flownet.from_caffe(layers, sizes.flownet(cfg), means, source_means)
        return "backbone", False, resnet.from_caffe(layers, eps)
    state, beside = read_state(source)
    if resnet.is_torchvision(state):
        return "backbone", True, resnet.from_torchvision(state, means, eps)
    if flownet.is_torch_flownet(state):
        own = source_means or flownet.TORCH_MEANS
        div_flow = float(beside.get("div_flow", flownet.DIV_FLOW))
        return "flow network", None, flownet.from_torch(state, sizes.flownet(cfg), means, own, div_flow)
    names = ", ".join(list(state)[:3])
    raise InputError(f"neither a torchvision ResNet nor a PyTorch FlowNetS: its first names are {names}")


def _check_fit(found: Converted, cfg_path: Path, method: str, part: str) -> None:
    network = next((n for n in inspection.networks([cfg_path], method) if n.part == part), None)
    if network is None:
        raise InputError(f"{cfg_path}: {method} has no {part}; use the YAML of a method that has one")
    params.check({**found.args, **found.auxs}, network.shapes, str(cfg_path))
