"""The page of a demo run: its frames and detections as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lib.dataset.classes import ClassList
from lib.eval.report import write
from lib.eval.report_data import data_url, jpeg
from lib.video.records import Result

LIMIT = 60_000_000  # bytes of embedded frames
SIDE = 640  # pixels: frames are shrunk to this


class ReportPage:
    """A sink (see `lib.video.records`) that writes the page when the run ends, also if it was interrupted.

    Frames after the first 60 MB of pictures have only their detections, and the page says so.
    """

    def __init__(self, path: Path, clip: str, classes: ClassList, threshold: float, method: str) -> None:
        self.path = path
        self._bytes = 0
        self._left_out = 0
        self._written = False
        self._clip: dict = {"name": clip, "frames": [], "width": 1, "height": 1, "objects": [], "images": [],
                            "detections": [[]], "f1": []}  # fmt: skip
        self._data: dict = {
            "title": f"{clip}: {method}", "score": threshold, "lowest": threshold, "truth": False, "methods": [method],
            "kinds": [], "classes": classes.names, "clips": [self._clip],
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
        picture = data_url(jpeg(result.image, SIDE)) if not self._left_out else ""
        if self._bytes + len(picture) > LIMIT:
            picture = ""
        self._left_out += not picture
        self._bytes += len(picture)
        clip["images"].append(picture)

    def close(self) -> None:
        """Write the page, once, if there are frames."""
        if self._written or not self._clip["frames"]:
            return
        self._written = True
        notes = [f"Detections with a score of at least {self._data['score']:g}."]
        if self._left_out:
            notes.append(
                f"The last {self._left_out} frames have no picture, since pictures may take {LIMIT // 10**6} MB."
            )
        write({**self._data, "notes": notes}, self.path)
