"""The demo that all methods share: runs a detector on clips and writes images, videos and detection files."""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2

from lib.argument import Parser
from lib.cli.demo_exports import TRACKED, add_export_arguments
from lib.cli.explain import Layers, add_explain_arguments, check_explain, explain_frames
from lib.cli.options import add_network, begin, weights_of
from lib.cli.outputs import DEFAULT_FPS, Output, check_outputs, plan
from lib.config import COMMON, Schema
from lib.dataset.classes import ClassList
from lib.errors import InputError, command, nearest, quoted
from lib.files import locked, sha256
from lib.method import Method
from lib.settings import classes_of
from lib.video.clips import Clip, open_clips
from lib.video.drawing import draw
from lib.video.stream import Detector, Summary, run_clip

log = logging.getLogger(__name__)
CLIP = "data/demo/MiniVID_val_0026"  # part of the repository


@command
def run_demo(argv: list[str] | None, method: Method, batch: int = 1) -> None:
    """Entry point of a method's `demo.py` and, with `batch` > 1, `demo_batch.py`."""
    several = f"{batch} frames at a time" if batch > 1 else "one frame at a time"
    parser = Parser(
        description=f"Detect objects in images, videos or a camera's frames, {several}, with {method.title}."
    )
    add_arguments(parser, *method.bundled, inputs=(CLIP,), schema=method.schema)
    if method.explain and batch == 1:
        add_explain_arguments(parser, method)
    args = parser.parse_args(argv)
    if hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)  # if a camera cannot be opened, our one-line error replaces OpenCV's six lines
    if args.live and batch > 1:
        raise InputError("--live cannot be combined with batching; use demo.py instead of demo_batch.py")
    settings = begin(args.cfg, [*args.set, *method.live] if args.live else args.set, method.schema)
    args.weights = weights_of(args, settings, method)
    classes = classes_of(settings)
    explained = method.explain if batch == 1 and getattr(args, "explain", None) is not None else None
    layers = None
    if explained:
        check_explain(args, classes)
        layers = Layers(explained, args.explain) if args.report else None
    run(
        lambda: method.detector.load(settings, args.weights, batch=batch, watch=layers.watch if layers else None),
        args,
        classes,
        method=method.name,
        context=lambda done: method.replay(settings, done),
        warmup=max(batch, method.warmup),
        layers=layers,
    )
    if explained and args.explain:
        explain_frames(args, method, explained, settings, classes)


def add_arguments(
    parser: argparse.ArgumentParser,
    cfg: str,
    weights: str,
    *,
    inputs: Sequence[str],
    schema: Schema = COMMON,
) -> None:
    """Adds the options that the demo scripts share. cfg, weights, inputs: the defaults."""
    add_network(parser, cfg, weights, schema)
    add = parser.add_argument
    add(
        "--input", nargs="+", metavar="WHAT", default=list(inputs),
        help="image folders, images or a quoted 'pattern', video files, a camera number, or an rtsp:// or http:// "
        f"address; several inputs are processed one after another (default: {' '.join(inputs)})",
    )  # fmt: skip
    add(
        "--output", nargs="+", metavar="WHERE",
        help="a folder for annotated frames, an animation of them and detections.jsonl; or a video FILE.mp4; or both "
        "(default: output/demo/METHOD/CLIP)",
    )  # fmt: skip
    add("--threshold", type=float, default=0.5, metavar="SCORE",
        help="lowest score of the detections drawn and written; use 0.001 for files to be evaluated "
        "(default: %(default)s)")  # fmt: skip
    add("--classes", nargs="+", metavar="NAME", help="only these classes, by name, id or number")
    add("--frames", metavar="START:STOP:STEP", help="only these frames, counted from 0, such as 100:200:2 or 7")
    track = "give each object a number that it keeps; scores below the threshold, down to 0.1, then continue tracks too"
    add("--track", action="store_true", help=track)
    add(
        "--live", action="store_true",
        help="write each frame immediately, using only earlier frames, and drop frames to keep up; images and videos "
        "are played at their frame rate, as if they came from a camera",
    )  # fmt: skip
    add("--max-size", type=int, metavar="PIXELS", help="shrink frames whose longer side is longer than this")
    add("--labels", action=argparse.BooleanOptionalAction, default=True, help="draw class, track and score at each box")
    add("--zoom", type=int, default=1, help="enlarge annotated frames by this factor, for small frames")
    add("--animation", choices=("gif", "webp", "none"), default="gif", help="format of the animation in the folder")
    add("--fps", type=float, help=f"frame rate of the output (default: that of the input, else {DEFAULT_FPS:g})")
    add("--json", metavar="FILE", help="detections as JSON lines, one line per frame (default: in the output folder)")
    add("--csv", metavar="FILE", help="detections as a table, one row per detection")
    add("--imagenet", metavar="FILE", help="detections in ImageNet's detection format")
    add("--coco", metavar="FILE", help="detections in COCO's results format")
    add_export_arguments(add)
    add("--report", metavar="FILE.html", help="frames and detections as one HTML page to play and search")
    add("--resume", action="store_true", help="continue an interrupted run with the same options")


def run(
    make_detector: Callable[[], Detector],
    args: argparse.Namespace,
    classes: ClassList,
    *,
    method: str,
    context: Callable[[int], int] = lambda done: 0,
    warmup: int = 1,
    layers: Layers | None = None,
    progress: bool = True,
) -> list[Summary]:
    """Runs a detector on every clip of `args` (see `add_arguments`), writes the outputs, and logs times and paths.

    The detector is created after the inputs and outputs have been checked and before anything is written. context:
    maps the number of finished frames to how many of them a resumed run must pass through the detector again. warmup:
    frames before timing starts (at least a batch, for detectors that work in batches). layers: collects the layers of
    --report from the detector. Raises InputError for invalid options, inputs or outputs, and if another process writes
    one of the outputs.
    """
    only = _class_numbers(args.classes, classes)
    _check(args)
    args.track = args.track or any(getattr(args, name) for name in TRACKED)
    clips = open_clips(args.input, frames=args.frames, max_size=args.max_size)
    outputs = [plan(args, clip, classes, method, len(clips) > 1, layers) for clip in clips]
    for clip, output in zip(clips, outputs):
        if args.resume:
            output.check_settings(_settings(args, clip))
    check_outputs(args, outputs)
    if args.live:
        clips = [clip if clip.live else replace(clip, pace=output.fps) for clip, output in zip(clips, outputs)]
    with contextlib.ExitStack() as locks:
        for path in dict.fromkeys(path for output in outputs for path in output.roots()):
            locks.enter_context(locked(path))
        return _run(make_detector(), args, classes, only, clips, outputs, context, warmup, progress)


def _run(
    detector: Detector,
    args: argparse.Namespace,
    classes: ClassList,
    only: frozenset[int] | None,
    clips: Sequence[Clip],
    outputs: Sequence[Output],
    context: Callable[[int], int],
    warmup: int,
    progress: bool,
) -> list[Summary]:
    paint = functools.partial(draw, names=classes.names, colours=classes.colours, labels=args.labels, zoom=args.zoom)
    summaries = []
    for clip, output in zip(clips, outputs):
        summary = run_clip(
            detector, clip, output.sinks, paint, threshold=args.threshold, only=only, context=context, warmup=warmup,
            resume=args.resume, track=args.track, before=functools.partial(output.note_settings, _settings(args, clip)),
            progress=progress,
        )  # fmt: skip
        output.finish(clip, summary)
        log.info("%s", summary)
        if summary.worked and not summary.boxes:
            log.warning(
                "no detection with a score of at least %g; lower --threshold, or use other weights (these detect %s)",
                args.threshold, ", ".join(classes.names[:8]) + (", ..." if len(classes) > 8 else ""),
            )  # fmt: skip
        log.info("wrote %s", ", ".join(str(path) for path in output.paths()))
        warmup = 0
        summaries.append(summary)
        if summary.stopped:
            break
    return summaries


def _class_numbers(wanted: Sequence[str] | None, classes: ClassList) -> frozenset[int] | None:
    """Class numbers from names, ids or numbers, where each text may list several, separated by commas; None: all.

    Raises InputError if a class is unknown.
    """
    if wanted is None:
        return None
    known: dict[str, int] = {}
    for number in range(len(classes), 0, -1):
        for word in (str(number), classes.ids[number - 1], classes.names[number - 1]):
            known[word.casefold()] = number
    numbers = set()
    for word in (part.strip() for text in wanted for part in text.split(",")):
        if word.casefold() not in known:
            near = nearest(word, known)
            listed = ", ".join(classes.names[:40]) + (", ..." if len(classes) > 40 else "")
            hint = f"did you mean {classes.names[known[near] - 1]}?" if near else f"the classes are {listed}"
            raise InputError(f"--classes {quoted(word)[1:-1]}: unknown class; {hint}")
        numbers.add(known[word.casefold()])
    return frozenset(numbers)


def _check(args: argparse.Namespace) -> None:
    if not 0 <= args.threshold <= 1:
        raise InputError(f"--threshold {args.threshold}: must be between 0 and 1")
    if args.report and (args.resume or args.live):
        raise InputError("--report needs all frames of a whole run; leave out --resume and --live")
    if not 1 <= args.zoom <= 16:
        raise InputError(f"--zoom {args.zoom}: must be between 1 and 16")
    if args.fps is not None and not 0.1 <= args.fps <= 1000:
        raise InputError(f"--fps {args.fps}: must be between 0.1 and 1000")


def _settings(args: argparse.Namespace, clip: Clip) -> dict:
    """The settings that must not change when a run is resumed."""
    return {
        "input": str(Path(clip.source.where).resolve()) if "://" not in clip.source.where else clip.source.where,
        "cfg": args.cfg,
        "set": args.set,
        "weights": args.weights,
        "weights sha256": sha256(args.weights) if Path(args.weights).is_file() else None,
        "threshold": args.threshold,
        "track": args.track,
        "classes": args.classes,
        "frames": args.frames,
        "max-size": args.max_size,
        "zoom": args.zoom,
        "labels": args.labels,
    }
