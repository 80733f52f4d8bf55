"""The option --explain of the demos: images and layers of a report that show how a method processes frames."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from easydict import EasyDict

from lib.backends.choice import backend_of
from lib.config import load_config
from lib.dataset.classes import ClassList
from lib.errors import InputError
from lib.inference.detector import read_parameters
from lib.method import Explain, Layer, Method
from lib.methods import METHODS, method_named
from lib.video.clips import Clip, check_held, open_clips
from lib.video.drawing import compare_boxes
from lib.video.pictures import write_picture
from lib.video.sources import Frame

log = logging.getLogger(__name__)

BASELINE = METHODS["rfcn"]  # whose boxes are drawn next to the method's


def add_explain_arguments(parser: argparse.ArgumentParser, method: Method) -> None:
    parser.add_argument(
        "--explain",
        nargs="*",
        type=int,
        metavar="FRAME",
        help=f"for these frames, counted from 0, also draw how {method.title} uses other frames (the flow to them, "
        "their weights or scale map) and the baseline's boxes next to its own, in explain/ in the output folder; "
        "--report then has the flow and the weights as layers, of these frames or, if none is given, of all",
    )
    default = (BASELINE.name, *BASELINE.bundled)
    parser.add_argument(
        "--baseline",
        nargs=3,
        metavar=("METHOD", "YAML", "WEIGHTS"),
        default=default,
        help=f"baseline of --explain (default: {' '.join(default)})",
    )


def check_explain(args: argparse.Namespace, classes: ClassList) -> None:
    """Raises InputError, before any work, for options that --explain does not go with and an unusable baseline."""
    if not args.explain:
        if not args.report:
            raise InputError("--explain: give the numbers of frames, or add --report, which then explains all frames")
        return
    other = method_named(args.baseline[0], "--baseline")
    cfg = load_config(args.baseline[1], schema=other.schema)
    if cfg.dataset.NUM_CLASSES != len(classes) + 1:
        what = f"detects {cfg.dataset.NUM_CLASSES - 1} classes, not {len(classes)}"
        raise InputError(f"--baseline: {args.baseline[1]}: {what}; give one with the classes of --cfg")
    try:
        read_parameters(other.parts(cfg), args.baseline[2], backend_of(cfg))
    except InputError as error:
        raise InputError(f"--baseline: {error}") from None
    if args.output and not any(is_folder_name(text) for text in args.output):
        raise InputError(f"--explain writes images; add a folder to --output {' '.join(args.output)}")
    clip, *_ = open_clips(args.input, frames=args.frames, max_size=args.max_size)
    if args.live or clip.live:
        raise InputError("--explain rereads frames and cannot be used with --live or a camera")
    for position in args.explain:
        _check_position(clip, position)


class Layers:
    """Collects the layers of frames for a report. frames: positions in each clip; empty: all."""

    def __init__(self, explain: Explain, frames: Collection[int]) -> None:
        self._explain, self._frames = explain, frozenset(frames)
        self._waiting: dict[int, list[Layer]] = {}

    def watch(self, details: Any) -> None:
        """Called by the detector for each frame, before it yields the detections."""
        if not self._frames or details.frame in self._frames:
            self._waiting[details.frame] = self._explain.layers(details)

    def take(self, position: int) -> list[Layer]:
        """The layers of the frame at this position in the current clip, each once; none if they are not wanted."""
        return self._waiting.pop(position, [])


def is_folder_name(text: str) -> bool:
    """Whether an --output is a folder, not a video."""
    return Path(text).suffix.lower() != ".mp4" or Path(text).is_dir()


def _check_position(clip: Clip, position: int) -> None:
    if not 0 <= position < len(clip.numbers):
        last = "" if clip.length is None else f" to {clip.length - 1}"
        raise InputError(f"--explain {position}: the clip's frames are numbered from 0{last}")


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
    given = next((text for text in args.output or () if is_folder_name(text)), None)
    folder = Path(given or f"output/demo/{method.name}/{clip.name}").expanduser() / "explain"
    watched: list[Any] = []
    detector = method.detector.load(cfg, args.weights, batch=1, watch=watched.append)
    written = []
    for position in args.explain:
        first, stop = explain.span(cfg, position)
        frames: list[Frame] = []
        for frame in clip.part(first, stop):
            frames.append(frame)
            check_held(frames)
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
