"""Writes a detector's networks as ONNX files, each compared with MXNet in onnxruntime before it is there."""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from easydict import EasyDict

from lib.backends.mxnet.runtime import Forward, devices
from lib.cli.setup import add_network, begin, check_folder, keep_config
from lib.errors import InputError
from lib.files import replacing
from lib.machine import cores
from lib.nets.onnx_graph import Part, require, to_onnx

TOLERANCE = 1e-4  # of an output's largest value; rounding alone has stayed below a tenth of it

Parts = Callable[[EasyDict], dict[str, Part]]
Read = Callable[[EasyDict, str], tuple[dict, dict]]


def main_of(argv: list[str] | None, doc: str, *, cfg: str, weights: str, out: str, parts: Parts, read: Read) -> None:
    """What `<method>/export.py` does; cfg, weights and out are what runs when nothing is given."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_network(parser, cfg, weights)
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(out), help="folder for the files (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    settings = begin(args.cfg, args.set)
    check_folder(args.out)
    export(parts(settings), *read(settings, args.weights), settings, args.out)


def export(parts: Mapping[str, Part], args: Mapping, auxs: Mapping, cfg: EasyDict, folder: Path) -> dict[str, float]:
    """Writes <folder>/<name>.onnx for each part, and config.yaml, the settings -> the greatest difference of each.

    That is the difference from MXNet as a share of the output's largest value, on noise of two sizes. InputError: onnx
    or onnxruntime is not installed, or a difference is above TOLERANCE; no file is written or replaced then.
    """
    require("onnx")
    require("onnxruntime")
    short, long = cfg.SCALES
    sizes = ((1, short, long), (2, short // 2 | 1, long // 3 | 1))
    differences = {}
    with contextlib.ExitStack() as written:
        for name, part in parts.items():
            path = folder / f"{name}.onnx"
            temporary = written.enter_context(replacing(path))
            temporary.write_bytes(to_onnx(part, args, auxs).SerializeToString())
            differences[name] = _greatest_difference(path, temporary, part, args, auxs, sizes)
            logging.info(
                "%s: %.1f MB, differs from MXNet by at most %.1e of an output's largest value",
                path,
                temporary.stat().st_size / 1e6,
                differences[name],
            )
        keep_config(cfg, folder)
    return differences


def _greatest_difference(path: Path, file: Path, part: Part, args: Mapping, auxs: Mapping, sizes: tuple) -> float:
    """Of all outputs at all sizes (batch, height, width of the picture). InputError: above TOLERANCE."""
    rng = np.random.default_rng(0)
    session = _session(file)
    forward = Forward(part.symbol, devices("")[0], args, auxs)
    greatest = 0.0
    for batch, *space in sizes:
        space = [-(-pixels // part.stride) for pixels in space]
        inputs = {
            name: rng.uniform(-128, 128, (batch, channels, *space)).astype(np.float32)
            for name, channels in part.inputs.items()
        }
        expected = forward(**inputs)
        for name, found in zip(part.output_names(), session.run(part.output_names(), inputs)):
            difference = relative_difference(found, expected[f"{name}_output"].asnumpy())
            if not difference <= TOLERANCE:
                shape = " x ".join(map(str, next(iter(inputs.values())).shape))
                raise InputError(
                    f"{path}: not written, because its output {name} differs from MXNet's by {difference:.1e} of its "
                    f"largest value for input {shape}, more than {TOLERANCE:.0e}; try another onnxruntime "
                    f"(this is {require('onnxruntime').__version__})"
                )
            greatest = max(greatest, difference)
    return greatest


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The greatest difference as a share of the largest expected value; not a number where either is not finite."""
    if found.shape != expected.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - expected, dtype=np.float64).max()
        return float(difference / (np.abs(expected).max() or 1.0))


def _session(file: Path):
    ort = require("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = cores()  # left alone, it binds threads to cores that it may not have
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
