"""The page of a demo run: its frames and detections as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.cli.explain import Layers
from lib.dataset.classes import ClassList
from lib.eval.report import write
from lib.eval.report_data import data_url, frame_url, frames_note
from lib.video.records import Result

LIMIT = 60_000_000  # bytes of embedded images
SIDE = 640  # pixels: frames are shrunk to this


class ReportPage:
    """A sink (see `lib.video.records`) that writes the page when the run ends, also if it was interrupted.

    Frames after the first 60 MB of images have only their detections, and the page says so. layers: of --explain.
    """

    def __init__(
        self, path: Path, clip: str, classes: ClassList, threshold: float, method: str, layers: Layers | None = None
    ) -> None:
        self.path = path
        self._layers = layers
        self._room = LIMIT
        self._left_out = 0
        self._written = False
        self._clip: dict = {"name": clip, "frames": [], "width": 1, "height": 1, "objects": [], "images": [],
                            "layers": [], "detections": [[]], "f1": []}  # fmt: skip
        self._data: dict = {
            "title": f"{clip}: {method}", "score": threshold, "lowest": threshold, "truth": False, "methods": [method],
            "kinds": [], "classes": classes.names, "clips": [self._clip], "layers": [],
        }  # fmt: skip

    def finished(self) -> int | None:
        return None

    def start(self, kept: Sequence[tuple[int, str]]) -> None:
        """Nothing is written before the run ends."""

    def write(self, result: Result) -> None:
        """Keep one frame."""
        clip = self._clip
        clip["height"], clip["width"] = result.image.shape[:2]
        clip["frames"].append(result.name)
        clip["detections"][0].append(
            [[c - 1, score, *box, -1, *(track or [-1])] for c, score, box, track in result.rows()]
        )
        layers = self._layers.take(len(clip["images"])) if self._layers else []
        picture = ""
        maps: list[list[Any]] = []
        if not self._left_out:
            picture = frame_url(result.image, SIDE)
            maps = [[self._kind(each.name), each.frame, data_url(each.image), each.values] for each in layers]
            self._room -= len(picture) + sum(len(url) for _, _, url, _ in maps)
            if self._room < 0:
                picture, maps = "", []
        self._left_out += not picture
        clip["images"].append(picture)
        clip["layers"].append(maps)

    def _kind(self, name: str) -> int:
        kinds = self._data["layers"]
        if name not in kinds:
            kinds.append(name)
        return kinds.index(name)

    def close(self) -> None:
        """Write the page, once, if there are frames."""
        if self._written or not self._clip["frames"]:
            return
        self._written = True
        notes = [f"Detections with a score of at least {self._data['score']:g}.", frames_note(SIDE)]
        if self._left_out:
            what = "no picture or layers" if self._data["layers"] else "no picture"
            notes.append(f"The last {self._left_out} frames have {what}, since they may take {LIMIT // 10**6} MB.")
        write({**self._data, "notes": notes}, self.path)
