"""The option --explain of the demos: images that show how a method processes single frames."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from easydict import EasyDict

from lib.config import load_config
from lib.dataset.classes import ClassList
from lib.errors import InputError
from lib.method import Explain, Method
from lib.methods import METHODS, method_named
from lib.video.clips import open_clips
from lib.video.drawing import compare_boxes
from lib.video.pictures import write_picture

log = logging.getLogger(__name__)

BASELINE = METHODS["rfcn"]  # whose boxes are drawn next to the method's


def add_explain_arguments(parser: argparse.ArgumentParser, method: Method) -> None:
    parser.add_argument(
        "--explain",
        nargs="+",
        type=int,
        metavar="FRAME",
        help=f"for these frames, counted from 0, also draw how {method.title} uses other frames (the flow to them, "
        "their weights or scale map) and the baseline's boxes next to its own, in explain/ in the output folder",
    )
    default = (BASELINE.name, *BASELINE.bundled)
    parser.add_argument(
        "--baseline",
        nargs=3,
        metavar=("METHOD", "YAML", "WEIGHTS"),
        default=default,
        help=f"baseline of --explain (default: {' '.join(default)})",
    )


def explain_frames(
    args: argparse.Namespace, method: Method, explain: Explain, cfg: EasyDict, classes: ClassList
) -> None:
    """Writes <name>_<explain.name>.png and <name>_boxes.png for each frame that --explain names, in explain/.

    The second shows the boxes of the baseline, which uses only this frame, next to those of the method. Raises
    InputError if the baseline is unknown or a frame is not in the clip.
    """
    name, baseline_cfg, weights = args.baseline
    other = method_named(name, "--baseline")
    baseline = other.detector.load(load_config(baseline_cfg, schema=other.schema), weights)
    clip, *_ = open_clips(args.input, frames=args.frames, max_size=args.max_size)
    for position in args.explain:
        if not 0 <= position < len(clip.numbers):
            last = "" if clip.length is None else f" to {clip.length - 1}"
            raise InputError(f"--explain {position}: the clip's frames are numbered from 0{last}")
    folder = Path(args.output[0] if args.output else f"output/demo/{method.name}/{clip.name}") / "explain"
    watched: list[Any] = []
    detector = method.detector.load(cfg, args.weights, batch=1, watch=watched.append)
    written = []
    for position in args.explain:
        first, stop = explain.span(cfg, position)
        frames = list(clip.part(first, stop))
        place = position - first
        if len(frames) <= place:
            raise InputError(f"--explain {position}: the clip has only {first + len(frames)} frames")
        watched.clear()
        found = list(detector(frame.image for frame in frames))[place]
        image = frames[place].image
        (single,) = baseline([image])
        boxes = {f"{other.title}, this frame only": single, method.title: found}
        for what, drawn in (
            (explain.name, explain.sheet(watched[place], [frame.image for frame in frames])),
            ("boxes", compare_boxes(image, boxes, classes, args.threshold)),
        ):
            written.append(folder / f"{Path(frames[place].name).stem}_{what}.png")
            write_picture(written[-1], drawn)
    log.info("wrote %s", ", ".join(map(str, written)))
