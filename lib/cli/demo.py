"""The demo that all methods share: runs a detector on clips and writes images, videos and detection files."""

from __future__ import annotations

import argparse
import functools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from lib.cli.explain import add_explain_arguments, explain_frames
from lib.cli.options import add_network, begin
from lib.cli.report_page import ReportPage
from lib.config import COMMON, Schema
from lib.dataset.classes import ClassList
from lib.dataset.media import PICTURES, VIDEOS
from lib.errors import InputError, command, nearest
from lib.files import replacing, sha256
from lib.method import Method
from lib.settings import classes_of
from lib.video.clips import Clip, open_clips
from lib.video.drawing import draw
from lib.video.film import Film
from lib.video.pictures import PictureFolder, animate
from lib.video.records import CocoResults, Csv, ImageNetFile, JsonLines
from lib.video.sources import PictureFiles
from lib.video.stream import Detector, Summary, run_clip

log = logging.getLogger(__name__)
DEFAULT_FPS = 25.0  # for image folders, which have no frame rate
CLIP = "data/demo/MiniVID_val_0026"  # part of the repository


@command
def run_demo(argv: list[str] | None, method: Method, batch: int = 1) -> None:
    """Entry point of a method's `demo.py` and, with `batch` > 1, `demo_batch.py`."""
    several = f"{batch} frames at a time" if batch > 1 else "one frame at a time"
    parser = argparse.ArgumentParser(
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
    classes = classes_of(settings)
    run(
        lambda: method.detector.load(settings, args.weights, batch=batch),
        args,
        classes,
        method=method.name,
        context=lambda done: method.replay(settings, done),
        warmup=max(batch, method.warmup),
    )
    if method.explain and batch == 1 and args.explain:
        explain_frames(args, method, method.explain, settings, classes)


def add_arguments(
    parser: argparse.ArgumentParser,
    cfg: str,
    weights: str,
    *,
    inputs: Sequence[str],
    threshold: float = 0.5,
    schema: Schema = COMMON,
) -> None:
    """Adds the options that the demo scripts share. cfg, weights, inputs, threshold: the defaults."""
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
    add("--threshold", type=float, default=threshold, metavar="SCORE",
        help="lowest score of the detections drawn and written; use 0.001 for files to be evaluated "
        "(default: %(default)s)")  # fmt: skip
    add("--classes", nargs="+", metavar="NAME", help="only these classes, by name, id or number")
    add("--frames", metavar="START:STOP:STEP", help="only these frames, counted from 0, such as 100:200:2 or 7")
    add("--track", action="store_true", help="give each object a number that it keeps from frame to frame")
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
    progress: bool = True,
) -> list[Summary]:
    """Runs a detector on every clip of `args` (see `add_arguments`), writes the outputs, and logs times and paths.

    The detector is created after the inputs and outputs have been checked and before anything is written. context:
    maps the number of finished frames to how many of them a resumed run must pass through the detector again. warmup:
    frames before timing starts (at least a batch, for detectors that work in batches). Raises InputError for invalid
    options, inputs or outputs.
    """
    only = _class_numbers(args.classes, classes)
    _check(args)
    clips = open_clips(args.input, frames=args.frames, max_size=args.max_size)
    outputs = [_plan(args, clip, classes, method, several=len(clips) > 1) for clip in clips]
    for clip, output in zip(clips, outputs):
        if args.resume:
            output.check_settings(_settings(args, clip))
    if args.live:
        clips = [clip if clip.live else replace(clip, pace=output.fps) for clip, output in zip(clips, outputs)]
    detector = make_detector()
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


@dataclass
class Output:
    """The output for one clip. folder, animation: None if not requested."""

    sinks: list
    folder: Path | None
    animation: Path | None
    fps: float

    def paths(self) -> list[Path]:
        """The files and folders written."""
        animation = [self.animation] if self.animation and self.animation.exists() else []
        return [sink.path for sink in self.sinks] + animation

    def note_settings(self, settings: dict) -> None:
        """Writes the settings of this run to run.json in the output folder."""
        if self.folder is not None:
            with replacing(self.folder / "run.json") as path:
                path.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")

    def check_settings(self, settings: dict) -> None:
        """Raises InputError if the folder holds the output of a run with another input, weights or options."""
        path = self.folder / "run.json" if self.folder is not None else None
        if path is None or not path.exists():
            return
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path}: invalid JSON ({error}); run without --resume") from error
        for key, value in settings.items():
            if before.get(key) != value:
                was = f"{path}: {key} was {before.get(key)} and is now {value}"
                raise InputError(f"{was}; use the same value, or start over without --resume")

    def finish(self, clip: Clip, summary: Summary) -> None:
        """Writes the animation. Live clips have none, since they have no end to loop back from."""
        if self.folder is not None and self.animation is not None and not clip.live:
            names = [clip.name_at(position) for position in range(summary.finished)]
            animate([self.folder / name for name in names], self.animation, self.fps)


def _plan(args: argparse.Namespace, clip: Clip, classes: ClassList, method: str, several: bool) -> Output:
    fps = args.fps or clip.fps or DEFAULT_FPS
    folder, videos = None, []
    for text in args.output or [str(Path("output/demo") / method)]:
        path = Path(text).expanduser()
        if path.suffix.lower() == ".mp4" and not path.is_dir():
            videos.append(Film(_own(path, clip, several), fps))
        elif path.suffix.lower() in PICTURES + VIDEOS and not path.is_dir():
            raise InputError(f"--output {text}: must be a folder or a video ending in .mp4")
        elif folder is not None:
            raise InputError(f"--output {text}: only one folder is allowed, and {folder} is given already")
        else:
            folder = path / clip.name if several or not args.output else path
    if folder is not None and folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder}: is a file; use a folder or a video ending in .mp4")
    sinks: list = [] if folder is None else [PictureFolder(folder)]
    sinks += videos
    for text, kind in ((args.coco, CocoResults), (args.imagenet, ImageNetFile)):
        sinks += [kind(_own(Path(text), clip, several))] if text else []
    sinks += [Csv(_own(Path(args.csv), clip, several), classes, args.track)] if args.csv else []
    if args.report:
        sinks.append(ReportPage(_own(Path(args.report), clip, several), clip.name, classes, args.threshold, method))
    # Must be last: --resume reads from it which frames are finished.
    if args.json:
        sinks.append(JsonLines(_own(Path(args.json), clip, several), classes))
    elif folder is not None:
        sinks.append(JsonLines(folder / "detections.jsonl", classes))
    _spare_source(clip, folder, [sink.path for sink in sinks])
    animation = None if folder is None or args.animation == "none" else folder / f"animation.{args.animation}"
    return Output(sinks, folder, animation, fps)


def _own(path: Path, clip: Clip, several: bool) -> Path:
    """The path of this clip's own file: with several clips, their names are added."""
    return path.with_name(f"{path.stem}-{clip.name}{path.suffix}") if several else path


def _spare_source(clip: Clip, folder: Path | None, paths: Sequence[Path]) -> None:
    """Raises InputError if the output would overwrite the input."""
    if isinstance(clip.source, PictureFiles):
        sources = {path.resolve() for path in clip.source.paths}
        if folder is not None and any((folder / path.name).resolve() in sources for path in clip.source.paths):
            raise InputError(f"--output {folder}: contains the input, which would be overwritten; use another folder")
    elif Path(clip.source.where).resolve() in [path.resolve() for path in paths]:
        raise InputError(f"--output {clip.source.where}: is the input, which would be overwritten; use another file")


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
            near = nearest(word, known, 0.0)
            hint = classes.names[known[near] - 1] if near else classes.names[0]
            raise InputError(f"--classes {word}: unknown class; did you mean {hint}?")
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
