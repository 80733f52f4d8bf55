"""Chooses a method and its settings: the most accurate that reach a frame rate on this machine.

    python -m lib.cli.autotune --input phone.mp4 --target-fps 15
    python -m lib.cli.autotune --input phone.mp4 --target-fps 15 --live

Benchmarks the Pareto-optimal settings of the accuracy curve (`python -m bench.curve`) on the clip, most accurate first,
each for a few seconds, in every available precision, and prints the command for the first that reaches the target.
Times include reading the frames, but neither drawing nor writing.

The mAP is that of the small network on MiniVID in float32; in other precisions or on other data, the order may differ.
With --live, it is that without later frames, and settings for which that was not measured are left out. Without
--network, the bundled networks are timed, which know only MiniVID's classes.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.argument import Parser
from lib.backends.choice import backend_of
from lib.cli.options import begin
from lib.errors import InputError, command
from lib.inference.detector import Detector
from lib.method import Files, Method
from lib.methods import METHODS, method_named
from lib.variants import variant
from lib.video.clips import Clip, open_clip

log = logging.getLogger(__name__)
CURVE = Path(__file__).parents[2] / "docs" / "curve.json"
PRECISIONS = ("float32", "bfloat16", "int8")  # from the most accurate to the least


@dataclass(frozen=True)
class Choice:
    """A point of the curve. name: as in `lib.variants`. settings: as for --set. accuracy: mAP on MiniVID, percent."""

    name: str
    method: Method
    settings: list[str]
    accuracy: float


@command
def main(argv: list[str] | None = None) -> None:
    parser = Parser(
        prog="python -m lib.cli.autotune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--input", required=True, metavar="WHAT", help="a video file or an image folder")
    add("--target-fps", required=True, type=float, metavar="FPS", help="frames per second to reach")
    add("--live", action="store_true", help="only earlier frames may be used, as with the demo's --live")
    add(
        "--network", nargs=3, action="append", default=[], metavar=("METHOD", "YAML", "WEIGHTS"),
        help=f"your own network of a method ({', '.join(METHODS)}); repeat it for several methods; only these "
        "are tried (default: the bundled networks of all)",
    )  # fmt: skip
    add("--set", nargs="+", default=[], metavar="KEY.PATH=VALUE", help="settings for all choices, such as gpus=0")
    add("--max-size", type=int, metavar="PIXELS", help="shrink frames whose longer side is longer than this")
    add("--seconds", type=float, default=4.0, help="time spent on each choice (default: %(default)s)")
    args = parser.parse_args(argv)
    for option in ("target_fps", "seconds"):
        if not 0 < getattr(args, option) < 1e6:
            raise InputError(f"--{option.replace('_', '-')} {getattr(args, option)}: must be a number above 0")
    files, clip = networks(args.network), open_clip(args.input, max_size=args.max_size)
    if clip.live:
        raise InputError(
            f"--input {args.input}: a camera or stream cannot be repeated; record a short video and use that"
        )
    choose(clip, choices(CURVE, args.live), files, args)


def networks(given: Sequence[Sequence[str]]) -> dict[str, Files]:
    """The networks to try by method. given: those of --network. Raises InputError for a method unknown or repeated."""
    if not given:
        return {name: method.bundled for name, method in METHODS.items()}
    files: dict[str, Files] = {}
    for name, cfg, weights in given:
        if method_named(name, "--network").name in files:
            raise InputError(f"--network {name}: given twice; compare two networks of a method in two runs")
        files[name] = Files(cfg, weights)
    return files


def choices(path: Path, live: bool = False) -> list[Choice]:
    """The points on the curve's frontiers, from the most accurate to the least; `live`: without later frames."""
    curve = json.loads(path.read_text(encoding="utf-8"))
    names, accuracy = {name for frontier in curve["frontier"].values() for name in frontier}, curve["mAP, %"]
    if live:
        accuracy = curve["mAP live, %"]
        names &= set(accuracy)
    found = [Choice(name, *variant(name), accuracy[name]) for name in sorted(names)]
    return sorted(found, key=lambda choice: -choice.accuracy)


def choose(clip: Clip, points: Sequence[Choice], files: dict[str, Files], args: argparse.Namespace) -> None:
    """Times the points in order until one is fast enough, and logs the command that uses it."""
    fastest, backend = (0.0, ""), None
    unavailable: dict[tuple[str, str], str] = {}
    for choice in points:
        if choice.method.name not in files:
            continue
        cfg, weights = files[choice.method.name]
        for precision in PRECISIONS:
            if (choice.method.name, precision) in unavailable:
                continue
            settings = [*choice.settings, f"TEST.PRECISION={precision}", *args.set]
            live = list(choice.method.live) if args.live else []
            loaded = begin(cfg, [*settings, *live], choice.method.schema)
            backend = backend or backend_of(loaded)
            if precision != "float32":
                try:
                    backend.precision(precision, weights)
                except InputError as error:
                    unavailable[choice.method.name, precision] = str(error)
                    log.info("%s in %s: left out (%s)", choice.method.title, precision, error)
                    continue
            detector = choice.method.detector.load(loaded, weights, backend=backend, batch=1)
            cycle = choice.method.cycle(loaded)
            rate = frames_per_second(
                detector, clip, args.seconds, cycle, warmup=2 * cycle + loaded.TEST.KEY_FRAME_INTERVAL
            )
            log.info(
                "%-28s mAP %4.1f  %7.2f frames/s%s", f"{choice.name}, {precision}", choice.accuracy, rate,
                "" if precision == "float32" else "  (mAP in float32)",
            )  # fmt: skip
            line = _demo(choice.method, cfg, weights, settings, args)
            if rate >= args.target_fps:
                log.info("the most accurate that reaches %g frames per second:\n%s", args.target_fps, line)
                return
            fastest = max(fastest, (rate, line))
    raise InputError(
        f"--target-fps {args.target_fps:g}: no setting reaches that rate on this machine; a smaller network input is "
        f"faster (--set SCALES=[SHORT,LONG]); the fastest ({fastest[0]:.2f} frames/s) is: {fastest[1]}"
    )


def frames_per_second(detector: Detector, clip: Clip, seconds: float, cycle: int, warmup: int) -> float:
    """Of the detector in the steady state, on the clip again and again.

    seconds: to measure for, at least. cycle: number of frames after which its work repeats; whole cycles are measured.
    warmup: results before that; at the start of a clip, windows repeat its first frame, which costs less.
    """
    results = detector(_repeated(clip))
    for _ in range(warmup):
        next(results)
    start, taken, frames = time.perf_counter(), 0.0, 0
    while taken < seconds:
        for _ in range(cycle):
            next(results)
        frames += cycle
        taken = time.perf_counter() - start
    return frames / taken


def _repeated(clip: Clip) -> Iterator[np.ndarray]:
    while True:
        empty = True
        for frame in clip:
            empty = False
            yield frame.image
        if empty:  # or this would look for a frame forever
            raise InputError(f"--input {clip.source.where}: contains no frames; give a video that plays")


def _demo(method: Method, cfg: str, weights: str, settings: Sequence[str], args: argparse.Namespace) -> str:
    parts = ["python", f"{method.name}/demo.py", "--input", args.input]
    parts += ["--cfg", cfg, "--weights", weights] if (cfg, weights) != method.bundled else []
    parts += ["--max-size", str(args.max_size)] if args.max_size else []
    parts += ["--live"] if args.live else []
    return shlex.join([*parts, "--set", *settings])


if __name__ == "__main__":
    main()
