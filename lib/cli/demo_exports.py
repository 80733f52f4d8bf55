"""The demo's files for annotation tools, made from the JSON lines once a clip is finished."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lib.dataset.classes import ClassList
from lib.dataset.exporting.formats import check_xml, cvat, label_studio, mot, write_text, write_yolo
from lib.errors import InputError
from lib.output_paths import is_stream
from lib.video.clips import Clip
from lib.video.exports import exported_clip
from lib.video.sources import PictureFiles

TRACKED = ("cvat", "mot", "label_studio")  # formats of tracks, which imply --track


def add_export_arguments(add: Callable) -> None:
    """Adds the options of this module with the parser's `add_argument`."""
    add("--cvat", metavar="FILE", help="tracks as `CVAT for video 1.1` XML, with the keyframes that CVAT needs to "
        "interpolate all boxes within 1 pixel (implies --track)")  # fmt: skip
    add("--mot", metavar="FILE", help="tracks as MOTChallenge text (implies --track)")
    add("--yolo", metavar="FOLDER", help="a YOLO label file for each frame, and classes.txt; with --track, a sixth "
        "column has the track")  # fmt: skip
    add("--label-studio", metavar="FILE", help="tracks as predictions in Label Studio's JSON; needs a video file as "
        "input (implies --track)")  # fmt: skip


def own_path(path: Path, clip: Clip, several: bool) -> Path:
    """The path of this clip's own file: with several clips, their names are added."""
    alone = not several or is_stream(path)
    return path if alone else path.with_name(f"{path.stem}-{clip.name}{path.suffix}")


@dataclass(frozen=True)
class Exports:
    """The files of one clip. cvat, mot, yolo, label_studio: where to write, None if not requested."""

    clip: Clip
    classes: ClassList
    method: str
    fps: float
    tracked: bool
    cvat: Path | None
    mot: Path | None
    yolo: Path | None
    label_studio: Path | None

    @classmethod
    def planned(cls, args: argparse.Namespace, clip: Clip, classes: ClassList, method: str, fps: float, several: bool):
        """Those that the options ask for. Raises InputError if they cannot be made of this clip."""
        files = {
            name: own_path(Path(getattr(args, name)).expanduser(), clip, several) if getattr(args, name) else None
            for name in TRACKED
        }
        yolo = Path(args.yolo).expanduser() if args.yolo else None
        wanted = next((name for name in (*TRACKED, "yolo") if getattr(args, name)), None)
        option = f"--{(wanted or '').replace('_', '-')}"
        if wanted and args.max_size is not None:
            raise InputError(f"{option}: boxes would be those of shrunken frames; leave out --max-size")
        if files["cvat"]:
            check_xml(clip.name, Path(clip.source.where).name, *classes.names)
        if files["label_studio"] and isinstance(clip.source, PictureFiles):
            raise InputError(
                f"--label-studio: Label Studio needs a video file, but {clip.source.where} is not one; use --cvat"
            )
        if yolo and any((yolo / clip.name).glob("*.txt")):
            raise InputError(
                f"--yolo: {yolo / clip.name} contains label files, which may be corrected; remove it first"
            )
        return cls(clip, classes, method, fps, args.track, **files, yolo=yolo)

    def paths(self) -> list[Path]:
        """The files and folders to write."""
        return [path for path in (self.cvat, self.mot, self.yolo, self.label_studio) if path]

    def write(self, records: Path) -> None:
        """Writes the files from the JSON lines of the finished clip. Raises InputError if that is not possible."""
        clip = exported_clip(records, self.clip, self.classes.names, self.tracked)
        if self.cvat:
            write_text(self.cvat, cvat(clip, thinned=True))
        if self.mot:
            write_text(self.mot, mot(clip))
        if self.yolo:
            write_yolo(clip, self.yolo, tracks=self.tracked)
        if self.label_studio:
            write_text(self.label_studio, label_studio(clip, self.clip.source.where, self.fps, self.method))
