"""The demo that every method shares: clips in, a detector over them, pictures, films and detection files out."""

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
DEFAULT_FPS = 25.0  # of pictures in a folder, which do not tell
CLIP = "data/demo/MiniVID_val_0026"  # the bundled one


@command
def run_demo(argv: list[str] | None, method: Method, batch: int = 1) -> None:
    """The scripts `demo.py` of a method and, with a batch, `demo_batch.py`."""
    several = f"{batch} frames at a time" if batch > 1 else "one frame at a time"
    parser = argparse.ArgumentParser(
        description=f"Detect objects in images, videos or a camera's frames, {several}, with {method.title}."
    )
    add_arguments(parser, cfg=method.bundled.cfg, weights=method.bundled.weights, inputs=(CLIP,))
    if method.explain and batch == 1:
        add_explain_arguments(parser, method)
    args = parser.parse_args(argv)
    if hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)  # where a camera does not open, one line replaces OpenCV's six
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
        warmup=batch,
    )
    if method.explain and batch == 1 and args.explain:
        explain_frames(args, method.name, method.explain, settings, classes)


def add_arguments(
    parser: argparse.ArgumentParser, *, cfg: str, weights: str, inputs: Sequence[str], threshold: float = 0.5
) -> None:
    """The options that the demo scripts share; cfg, weights and inputs are what runs when nothing is given."""
    add_network(parser, cfg, weights)
    add = parser.add_argument
    add(
        "--input", nargs="+", metavar="WHAT", default=list(inputs),
        help="a folder of pictures, a 'pattern' or pictures, video files, a camera's number, an rtsp:// or http:// "
        f"address; several are worked on one after another (default: {' '.join(inputs)})",
    )  # fmt: skip
    add(
        "--output", nargs="+", metavar="WHERE",
        help="a folder for annotated frames, their animated picture and detections.jsonl; or a film FILE.mp4; or both "
        "(default: output/demo/METHOD/CLIP)",
    )  # fmt: skip
    add("--threshold", type=float, default=threshold, metavar="SCORE",
        help="detections of at least this score are drawn and written; 0.001 for files to evaluate "
        "(default: %(default)s)")  # fmt: skip
    add("--classes", nargs="+", metavar="NAME", help="these classes only, by name, id or number")
    add("--frames", metavar="START:STOP:STEP", help="these frames only, counted from 0, as in 100:200:2; or one, as 7")
    add("--track", action="store_true", help="number the objects, the same object with the same number in each frame")
    add(
        "--live", action="store_true",
        help="tell of each frame as soon as it comes, by the frames before it alone, and drop frames to keep up; "
        "pictures and video files are played at their rate, as if from a camera",
    )  # fmt: skip
    add("--max-size", type=int, metavar="PIXELS", help="shrink frames whose longer side is longer than this")
    add("--labels", action=argparse.BooleanOptionalAction, default=True, help="class, track and score at each box")
    add("--zoom", type=int, default=1, help="enlarge drawn pictures this many times, for small frames")
    add("--animation", choices=("gif", "webp", "none"), default="gif", help="kind of animated picture in the folder")
    add("--fps", type=float, help=f"frames a second of what is written (default: the source's, else {DEFAULT_FPS:g})")
    add("--json", metavar="FILE", help="detections as JSON lines, one frame a line (default: in the output folder)")
    add("--csv", metavar="FILE", help="detections as a table, one detection a row")
    add("--imagenet", metavar="FILE", help="detections as ImageNet's detection file")
    add("--coco", metavar="FILE", help="detections as COCO's results file")
    add("--resume", action="store_true", help="go on where an earlier run with the same options stopped")


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
    """Detects in every clip of `args` (of `add_arguments`) and writes what was asked for; logs times and places.

    The detector is made after the input and the output have been checked, before anything is written. context: (done)
    -> how many of `done` finished frames a resumed run passes through the detector again. warmup: how many frames pass
    through it before the clock starts (a batch, for detectors that work in batches). Raises InputError.
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
                "no box of at least %g: lower --threshold, or give weights that know what is there; these know %s",
                args.threshold, ", ".join(classes.names[:8]) + (", ..." if len(classes) > 8 else ""),
            )  # fmt: skip
        log.info("written: %s", ", ".join(str(place) for place in output.places()))
        warmup = 0
        summaries.append(summary)
        if summary.stopped:
            break
    return summaries


@dataclass
class Output:
    """What is written for one clip. folder, animation: None where not wanted."""

    sinks: list
    folder: Path | None
    animation: Path | None
    fps: float

    def places(self) -> list[Path]:
        """Where things lie when the run is over."""
        animation = [self.animation] if self.animation and self.animation.exists() else []
        return [sink.path for sink in self.sinks] + animation

    def note_settings(self, settings: dict) -> None:
        """Writes beside the pictures which run made them."""
        if self.folder is not None:
            with replacing(self.folder / "run.json") as path:
                path.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")

    def check_settings(self, settings: dict) -> None:
        """Raises InputError where the pictures of an earlier run are of another input, other weights or options."""
        path = self.folder / "run.json" if self.folder is not None else None
        if path is None or not path.exists():
            return
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path}: broken: {error}; run without --resume") from error
        for key, value in settings.items():
            if before.get(key) != value:
                was = f"{path}: {key} was {before.get(key)}, now it is {value}"
                raise InputError(f"{was}; to --resume give the same, or start anew without it")

    def finish(self, clip: Clip, summary: Summary) -> None:
        """Makes the animated picture from the pictures. A live clip has no end to loop back from."""
        if self.folder is not None and self.animation is not None and not clip.live:
            names = [clip.name_at(position) for position in range(summary.finished)]
            animate([self.folder / name for name in names], self.animation, self.fps)


def _plan(args: argparse.Namespace, clip: Clip, classes: ClassList, method: str, several: bool) -> Output:
    fps = args.fps or clip.fps or DEFAULT_FPS
    folder, films = None, []
    for text in args.output or [str(Path("output/demo") / method)]:
        path = Path(text).expanduser()
        if path.suffix.lower() == ".mp4" and not path.is_dir():
            films.append(Film(_own(path, clip, several), fps))
        elif path.suffix.lower() in PICTURES + VIDEOS and not path.is_dir():
            raise InputError(f"--output {text}: give a folder, or a film that ends in .mp4")
        elif folder is not None:
            raise InputError(f"--output {text}: one folder is enough, {folder} is given already")
        else:
            folder = path / clip.name if several or not args.output else path
    if folder is not None and folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder}: is a file; give a folder, or a film that ends in .mp4")
    sinks: list = [] if folder is None else [PictureFolder(folder)]
    sinks += films
    for text, kind in ((args.coco, CocoResults), (args.imagenet, ImageNetFile)):
        sinks += [kind(_own(Path(text), clip, several))] if text else []
    sinks += [Csv(_own(Path(args.csv), clip, several), classes, args.track)] if args.csv else []
    # The last that is written, since it tells --resume which frames are finished.
    if args.json:
        sinks.append(JsonLines(_own(Path(args.json), clip, several), classes))
    elif folder is not None:
        sinks.append(JsonLines(folder / "detections.jsonl", classes))
    _spare_source(clip, folder, [sink.path for sink in sinks])
    animation = None if folder is None or args.animation == "none" else folder / f"animation.{args.animation}"
    return Output(sinks, folder, animation, fps)


def _own(path: Path, clip: Clip, several: bool) -> Path:
    """A file of this clip alone."""
    return path.with_name(f"{path.stem}-{clip.name}{path.suffix}") if several else path


def _spare_source(clip: Clip, folder: Path | None, places: Sequence[Path]) -> None:
    """Raises InputError where the output would overwrite the input."""
    if isinstance(clip.source, PictureFiles):
        sources = {path.resolve() for path in clip.source.paths}
        if folder is not None and any((folder / path.name).resolve() in sources for path in clip.source.paths):
            raise InputError(f"--output {folder}: holds the input's pictures, which would be overwritten; give another")
    elif Path(clip.source.where).resolve() in [path.resolve() for path in places]:
        raise InputError(f"--output {clip.source.where}: is the input, which would be overwritten; give another")


def _class_numbers(wanted: Sequence[str] | None, classes: ClassList) -> frozenset[int] | None:
    """Numbers of classes given by name, id or number, also as one text with commas. None: all. Raises InputError."""
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
            raise InputError(f"--classes {word}: no such class; the nearest is {hint}")
        numbers.add(known[word.casefold()])
    return frozenset(numbers)


def _check(args: argparse.Namespace) -> None:
    if not 0 <= args.threshold <= 1:
        raise InputError(f"--threshold {args.threshold}: must be from 0 to 1")
    if not 1 <= args.zoom <= 16:
        raise InputError(f"--zoom {args.zoom}: must be from 1 to 16")
    if args.fps is not None and not 0.1 <= args.fps <= 1000:
        raise InputError(f"--fps {args.fps}: must be from 0.1 to 1000")


def _settings(args: argparse.Namespace, clip: Clip) -> dict:
    """What must be the same for a run to go on where another stopped."""
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
