"""A clip with its tracks, as the exporters write it, and the keyframes that describe a track."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lib.dataset.importing.clips import Edges

TOLERANCE = 1.0  # pixels by which a box may differ from the interpolation between the keyframes beside it


@dataclass(frozen=True)
class TrackBox:
    """The box of a track in one frame. place: the frame's position in the clip, from 0; edges: continuous pixels."""

    place: int
    edges: Edges
    occluded: bool = False
    generated: bool = False
    score: float = 1.0


@dataclass(frozen=True)
class ClipTrack:
    """One object: its class from 1, a number that no other track of the clip has, and its boxes in order."""

    cls: int
    number: int
    boxes: Sequence[TrackBox]

    def runs(self) -> Iterator[list[TrackBox]]:
        """The boxes, split where the object is missing in at least one frame."""
        run: list[TrackBox] = []
        for box in self.boxes:
            if run and box.place != run[-1].place + 1:
                yield run
                run = []
            run.append(box)
        if run:
            yield run


@dataclass(frozen=True)
class ExportClip:
    """A clip to export.

    name: of the clip; source: of its film or image folder; frames: the numbers of its frames in the source; images:
    the name of each frame's file, None for a film; sizes: (width, height) of each frame; classes: names from class 1.
    """

    name: str
    source: str
    frames: range
    images: Sequence[str] | None
    sizes: Sequence[tuple[int, int]]
    classes: Sequence[str]
    tracks: Sequence[ClipTrack]

    def by_frame(self) -> list[list[tuple[ClipTrack, TrackBox]]]:
        """The boxes of each frame with their tracks, in order of track numbers."""
        found: list[list[tuple[ClipTrack, TrackBox]]] = [[] for _ in self.frames]
        for track in sorted(self.tracks, key=lambda track: track.number):
            for box in track.boxes:
                found[box.place].append((track, box))
        return found


def keyframes(run: Sequence[TrackBox]) -> list[TrackBox]:
    """The boxes of a run that are needed: all others are within TOLERANCE pixels of interpolation between these.

    The first and last box are always kept; the box farthest from the interpolation between two kept ones is added until
    none is too far (Ramer-Douglas-Peucker, with the largest deviation of the four edges).
    """
    edges = np.array([box.edges for box in run], np.float64)
    kept = {0, len(run) - 1}
    spans = [(0, len(run) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        inner = np.arange(first + 1, last)
        share = ((inner - first) / (last - first))[:, None]
        away = np.abs(edges[inner] - (edges[first] + share * (edges[last] - edges[first]))).max(axis=1)
        # Against rounding in the file: a box at exactly the tolerance stays within it.
        if away.max() > TOLERANCE - 0.01:
            middle = int(inner[away.argmax()])
            kept.add(middle)
            spans += [(first, middle), (middle, last)]
    return [run[place] for place in sorted(kept)]
