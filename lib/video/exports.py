"""Turns the JSON lines of a finished clip into a clip with tracks, for files of annotation tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lib.dataset.exporting.clips import ClipTrack, ExportClip, TrackBox
from lib.dataset.importing.clips import edges_of
from lib.errors import InputError
from lib.video.clips import Clip
from lib.video.sources import PictureFiles


def exported_clip(records: Path, clip: Clip, classes: Sequence[str], tracked: bool) -> ExportClip:
    """The detections in `records` (written by `JsonLines`), by track.

    The clip's frames are those from the first to the last record, in steps of `clip.step`; frames that a live clip
    dropped have no boxes. Without tracks, each box is a track of its own. A track whose class differs between frames
    has its most frequent class. Raises InputError if tracks are wanted and the file has none.
    """
    with open(records, encoding="utf-8", errors="surrogateescape") as file:
        rows = [json.loads(line) for line in file]
    frames = range(clip.start, rows[-1]["index"] + 1 if rows else clip.start, clip.step)
    sizes = [(rows[0]["width"], rows[0]["height"])] * len(frames) if rows else []
    boxes: dict[int, list[TrackBox]] = {}
    labels: dict[int, list[int]] = {}
    count = 0
    for row in rows:
        place = (row["index"] - clip.start) // clip.step
        sizes[place] = row["width"], row["height"]
        for found in row["detections"]:
            count += 1
            if tracked and "track" not in found:
                raise InputError(f"{records}: was written without --track; run without --resume")
            number = found["track"] if tracked else count
            boxes.setdefault(number, []).append(TrackBox(place, edges_of(found["box"]), score=found["score"]))
            labels.setdefault(number, []).append(found["class_id"])
    tracks = [
        ClipTrack(max(labels[number], key=labels[number].count), number, group) for number, group in boxes.items()
    ]
    images = [clip.source.name_of(frame) for frame in frames] if isinstance(clip.source, PictureFiles) else None
    return ExportClip(clip.name, Path(clip.source.where).name, frames, images, sizes, classes, tracks)
