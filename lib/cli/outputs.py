"""The outputs of the demo: which files and folders the options ask for, and whether they can be written."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.cli.demo_exports import Exports, own_path
from lib.cli.explain import Layers
from lib.cli.report_page import ReportPage
from lib.dataset.classes import ClassList
from lib.dataset.media import PICTURES, VIDEOS
from lib.errors import InputError, quoted
from lib.files import write_json
from lib.output_paths import check_distinct, check_output, is_stream
from lib.reading import read_json
from lib.video.clips import Clip
from lib.video.film import Film
from lib.video.pictures import PictureFolder, animate
from lib.video.records import CocoResults, Csv, ImageNetFile, JsonLines
from lib.video.sources import PictureFiles
from lib.video.stream import Summary

OTHERS = {  # options for other files than pictures and videos, by suffix
    ".json": "--json",
    ".jsonl": "--json",
    ".csv": "--csv",
    ".txt": "--imagenet",
    ".html": "--report",
    ".xml": "--cvat",
}
DEFAULT_FPS = 25.0  # for image folders, which have no frame rate


@dataclass
class Output:
    """The output for one clip. folder, animation: None if not requested."""

    sinks: list
    exports: Exports
    folder: Path | None
    animation: Path | None
    fps: float

    def paths(self) -> list[Path]:
        """The files and folders written."""
        animation = [self.animation] if self.animation and self.animation.exists() else []
        return [sink.path for sink in self.sinks] + animation + self.exports.paths()

    def roots(self) -> list[Path]:
        """The folder, and the files outside it."""
        paths = [sink.path for sink in self.sinks] + self.exports.paths()
        return [path for path in paths if path == self.folder or path.parent != self.folder]

    def note_settings(self, settings: dict) -> None:
        """Writes the settings of this run to run.json in the output folder."""
        if self.folder is not None:
            write_json(self.folder / "run.json", settings, pipes=False)

    def check_settings(self, settings: dict) -> None:
        """Raises InputError if the folder holds the output of a run with another input, weights or options."""
        path = self.folder / "run.json" if self.folder is not None else None
        if path is None or not path.exists():
            return
        before = read_json(path, "run without --resume")
        if not isinstance(before, dict):
            raise InputError(f"{path}: holds no settings; run without --resume")
        for key, value in settings.items():
            if before.get(key) != value:
                was = f"{path}: {key} was {quoted(before.get(key))} and is now {quoted(value)}"
                raise InputError(f"{was}; use the same value, or start over without --resume")

    def finish(self, clip: Clip, summary: Summary) -> None:
        """Writes the files for annotation tools, and the animation, which live clips do not have."""
        if self.exports.paths():
            self.exports.write(self.sinks[-1].path)
        if self.folder is not None and self.animation is not None and not clip.live:
            names = [clip.name_at(position) for position in range(summary.finished)]
            animate([self.folder / name for name in names], self.animation, self.fps)


def plan(
    args: argparse.Namespace, clip: Clip, classes: ClassList, method: str, several: bool, layers: Layers | None
) -> Output:
    """The outputs of one clip that the options ask for. several: whether there are other clips. layers: of --report.

    Raises InputError for options that contradict each other, or an output that would overwrite the input.
    """
    fps = args.fps or clip.fps or DEFAULT_FPS
    folder, videos = None, []
    for text in args.output or [str(Path("output/demo") / method)]:
        path = Path(text).expanduser()
        if path.suffix.lower() == ".mp4" and not path.is_dir():
            videos.append(Film(own_path(path, clip, several), fps))
        elif path.suffix.lower() in PICTURES + VIDEOS and not path.is_dir():
            raise InputError(f"--output {text}: must be a folder or a video ending in .mp4")
        elif path.suffix.lower() in OTHERS and not path.is_dir():
            option = OTHERS[path.suffix.lower()]
            raise InputError(f"--output {text}: must be a folder or a video; write such a file with {option}")
        elif folder is not None:
            raise InputError(f"--output {text}: only one folder is allowed, and {folder} is given already")
        else:
            folder = path / clip.name if several or not args.output else path
    if folder is not None and folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder}: is a file; use a folder or a video ending in .mp4")
    sinks: list = [] if folder is None else [PictureFolder(folder)]
    sinks += videos
    for text, kind in ((args.coco, CocoResults), (args.imagenet, ImageNetFile)):
        sinks += [kind(own_path(Path(text), clip, several), classes)] if text else []
    sinks += [Csv(own_path(Path(args.csv), clip, several), classes, args.track)] if args.csv else []
    if args.report:
        path = own_path(Path(args.report), clip, several)
        sinks.append(ReportPage(path, clip.name, classes, args.threshold, method, layers))
    # Must be last: --resume reads from it which frames are finished.
    if args.json:
        sinks.append(JsonLines(own_path(Path(args.json), clip, several), classes))
    elif folder is not None:
        sinks.append(JsonLines(folder / "detections.jsonl", classes))
    exports = Exports.planned(args, clip, classes, method, fps, several)
    if exports.paths() and not isinstance(sinks[-1], JsonLines):
        raise InputError(f"{exports.paths()[0]}: needs the JSON Lines output; add --json FILE")
    if folder is not None and isinstance(clip.source, PictureFiles):
        sources = {path.resolve() for path in clip.source.paths}
        if any((folder / path.name).resolve() in sources for path in clip.source.paths):
            raise InputError(f"--output {folder}: contains the input, which would be overwritten; use another folder")
    animation = None if folder is None or args.animation == "none" else folder / f"animation.{args.animation}"
    return Output(sinks, exports, folder, animation, fps)


def check_outputs(args: argparse.Namespace, outputs: Sequence[Output]) -> None:
    """Raises InputError for an output that cannot be written, or resumed, or would replace an input or another one."""
    inputs: list[str | Path] = [args.cfg, args.weights, *getattr(args, "baseline", ())[1:]]
    files: list[Path | None] = []
    for output in outputs:
        source, yolo = output.exports.clip.source, output.exports.yolo
        inputs += source.paths if isinstance(source, PictureFiles) else [Path(source.where)]
        given = [path for path in output.exports.paths() if path != yolo]
        for path in output.exports.paths():
            check_output(path, folder=path == yolo)
        for sink in output.sinks:
            check_output(sink.path, folder=sink.path == output.folder)
            if sink.path != output.folder:
                given.append(sink.path)
            if is_stream(sink.path) and args.resume:
                raise InputError(f"--resume: {sink.path} cannot be continued; give the name of a file")
        _spare_own_files(given, output.folder, PICTURES)
        if yolo is not None:
            for folder in (yolo, yolo / output.exports.clip.name):
                _spare_own_files(given, folder, (".txt",))
        files += [output.folder, output.animation, *given]
        files += [output.folder / "run.json"] if output.folder else []
    check_distinct(inputs, files)


def _spare_own_files(paths: Sequence[Path], folder: Path | None, suffixes: Sequence[str]) -> None:
    """Raises InputError for a path that could be one of the files with these suffixes that are written to a folder."""
    for path in paths:
        if folder is not None and path.parent.resolve() == folder.resolve() and path.suffix.lower() in suffixes:
            raise InputError(f"{path}: is the name of a file that {folder} may get; choose another name")
