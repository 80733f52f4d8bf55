"""Exports a detector's networks to ONNX. Files are kept only if onnxruntime gives the same outputs as the backend."""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from easydict import EasyDict

from lib.argument import Parser
from lib.backends.base import Arrays, Backend
from lib.backends.choice import backend_of
from lib.cli.options import add_network, begin, weights_of
from lib.config import make_config, pairs
from lib.errors import InputError, command
from lib.files import replacing
from lib.inference.detector import read_parameters
from lib.machine import cores
from lib.method import Method
from lib.nets.onnx_graph import require, to_onnx
from lib.nets.part import Part
from lib.output_paths import check_distinct, check_folder
from lib.settings import keep_config

log = logging.getLogger(__name__)

TOLERANCE = 1e-4  # relative to an output's largest value; rounding errors have stayed below a tenth of it


ABOUT = """\
Export the networks of {title} to ONNX. Files are kept only if onnxruntime gives the same outputs as the
active backend.

{parts}

Inputs and outputs have the shape (N, C, H, W), where N, H and W are free. The files do not contain proposals and
position-sensitive pooling, for which ONNX has no operators, NMS, or the steps between the networks. docs/weights.md
shows how to run all of it on a frame.
"""


@command
def run_export(argv: list[str] | None, method: Method) -> None:
    """Entry point of a method's `export.py`."""
    listed = method.parts(make_config({}, method.schema)).items()
    doc = ABOUT.format(title=method.title, parts="\n".join(f"{name}.onnx  {part.about}" for name, part in listed))
    parser = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_network(parser, *method.bundled, method.schema)
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("output/onnx") / method.name,
        help="folder for the files (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    cfg = begin(args.cfg, args.set, method.schema)
    args.weights = weights_of(args, cfg, method)
    check_folder(args.out)
    names = [*(f"{name}.onnx" for name in method.parts(cfg)), "config.yaml"]
    check_distinct([args.cfg, args.weights], [args.out / name for name in names])
    backend = backend_of(cfg)
    parameters = read_parameters(method.parts(cfg), args.weights, backend)
    export(method.parts(cfg), *parameters, cfg, args.out, backend)


def export(
    parts: Mapping[str, Part], args: Arrays, auxs: Arrays, cfg: EasyDict, folder: Path, backend: Backend
) -> dict[str, float]:
    """Writes <folder>/<name>.onnx for each part that is needed, and the settings to config.yaml.

    Returns, for each part, the largest difference from the backend on noise of two sizes, relative to the output's
    largest value. Raises InputError if onnx or onnxruntime is not installed, or if a difference exceeds TOLERANCE;
    then no file is written or replaced.
    """
    require("onnx")
    require("onnxruntime")
    short, long = pairs(cfg.SCALES)[0]
    sizes = ((1, short, long), (2, short // 2 | 1, long // 3 | 1))
    differences = {}
    with contextlib.ExitStack() as written:
        for name, part in parts.items():
            if not part.needed:
                continue
            path = folder / f"{name}.onnx"
            temporary = written.enter_context(replacing(path))
            expected = [_expected(part, args, auxs, backend, *size) for size in sizes]
            channels = {output: value.shape[1] for output, value in expected[0][1].items()}
            temporary.write_bytes(to_onnx(part, args, auxs, channels).SerializeToString())
            differences[name] = _largest_difference(path, temporary, expected)
            log.info(
                "%s: %.1f MB, differs from %s by at most %.1e of an output's largest value",
                path,
                temporary.stat().st_size / 1e6,
                backend.name,
                differences[name],
            )
        keep_config(cfg, folder)
    return differences


def _expected(
    part: Part, args: Arrays, auxs: Arrays, backend: Backend, batch: int, height: int, width: int
) -> tuple[Arrays, Arrays]:
    """(noise as inputs, the backend's outputs for it)."""
    rng = np.random.default_rng(0)
    inputs = {
        name: rng.uniform(-128, 128, shape).astype(np.float32)
        for name, shape in part.input_shapes(height, width, batch).items()
    }
    network = backend.network(part.build, backend.devices("")[0], args, auxs)
    return inputs, {name: np.asarray(value) for name, value in network(**inputs).items()}


def _largest_difference(path: Path, file: Path, cases: list[tuple[Arrays, Arrays]]) -> float:
    """The largest difference over all outputs of all (inputs, expected outputs). Raises InputError above TOLERANCE."""
    session = _session(file)
    largest = 0.0
    for inputs, expected in cases:
        for name, found in zip(expected, session.run(list(expected), dict(inputs))):
            difference = relative_difference(found, expected[name])
            if not difference <= TOLERANCE:
                shape = " x ".join(map(str, next(iter(inputs.values())).shape))
                raise InputError(
                    f"{path}: not written, because its output {name} differs from the expected one by "
                    f"{difference:.1e} of its largest value for input {shape}, more than {TOLERANCE:.0e}; try another "
                    f"onnxruntime (this is {require('onnxruntime').__version__})"
                )
            largest = max(largest, difference)
    return largest


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest expected value; NaN or inf if either array is not finite."""
    if found.shape != expected.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - expected, dtype=np.float64).max()
        return float(difference / (np.abs(expected).max() or 1.0))


def _session(file: Path):
    ort = require("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = cores()  # by default, it binds threads to cores that it may not be allowed to use
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
