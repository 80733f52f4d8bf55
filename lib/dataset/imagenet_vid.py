"""Datasets in the layout of ImageNet VID: annotations as one compact index, and the entries of the list files.

root/Data/{VID,DET}/<image>.JPEG   root/Annotations/{VID,DET}/<image>.xml   root/ImageSets/{VID,DET}_*.txt
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.dataset.classes import ClassList
from lib.dataset.index import AnnotationIndex, build_index, joined
from lib.dataset.lists import DET_TRAIN_FORM, VID_TRAIN_FORM, VIDEOS_FORM, read_rows
from lib.errors import InputError

__all__ = [
    "AnnotationIndex",
    "TrainEntry",
    "VideoEntry",
    "build_index",
    "list_path",
    "test_videos",
    "train_entries",
    "training_boxes",
    "training_index",
]


@dataclass(frozen=True)
class TrainEntry:
    """One image of a training list.

    `kind` VID or DET; `image_id` below Data/<kind>; `video` its folder there, `frame` 0..num_frames-1 its place in the
    clip. A DET image has no video (None), frame 0 of 1.
    """

    folder: Path
    kind: str
    image_id: str
    video: str | None
    frame: int
    num_frames: int

    @property
    def image(self) -> Path:
        """The picture's file."""
        return self.folder / f"{self.image_id}.JPEG"

    def neighbour(self, offset: int) -> Path:
        """The picture `offset` frames away, clamped to the clip; a DET image is its own neighbour."""
        if self.video is None:
            return self.image
        frame = min(max(self.frame + offset, 0), self.num_frames - 1)
        return self.folder / self.video / f"{frame:06d}.JPEG"


@dataclass(frozen=True)
class VideoEntry:
    """One clip of a test list: `video` below Data/VID, the id of its first frame, its number of frames."""

    folder: Path
    video: str
    first_id: int
    num_frames: int

    @property
    def image_ids(self) -> list[str]:
        """The frames' image ids in order."""
        return [f"{self.video}/{frame:06d}" for frame in range(self.num_frames)]

    @property
    def frames(self) -> list[Path]:
        """The frames' files in order."""
        return [self.folder / f"{image_id}.JPEG" for image_id in self.image_ids]


def list_path(root: str | Path, image_set: str) -> Path:
    """The file of an image set: ImageSets/<image_set>.txt below the dataset's root."""
    return Path(root) / "ImageSets" / f"{image_set}.txt"


def train_entries(root: str | Path, image_sets: str) -> list[TrainEntry]:
    """Entries of the training lists joined by `+` (`DET_train_30classes+VID_train_15frames`), in the lists' order.

    InputError: a list is missing or malformed (file:line), or its name begins neither with DET_ nor with VID_.
    """
    entries = []
    for image_set in image_sets.split("+"):
        kind = image_set[:3]
        path = list_path(root, image_set)
        folder = Path(root) / "Data" / kind
        if image_set.startswith("DET_"):
            rows = read_rows(path, DET_TRAIN_FORM)
            entries.extend(TrainEntry(folder, kind, row.name, None, 0, 1) for row in rows)
        elif image_set.startswith("VID_"):
            for row in read_rows(path, VID_TRAIN_FORM):
                _, frame, count = row.numbers
                if frame >= count:
                    raise InputError(f"{path}:{row.line}: frame {frame} of a clip of {count}; frames count from 0")
                entries.append(TrainEntry(folder, kind, f"{row.name}/{frame:06d}", row.name, frame, count))
        else:
            raise InputError(f"image set {image_set!r} of {image_sets!r}: the name must begin with DET_ or VID_")
    return entries


def test_videos(root: str | Path, image_set: str) -> list[VideoEntry]:
    """The clips of a test list such as `VID_val_videos`. InputError: missing, malformed, a clip without frames."""
    path = list_path(root, image_set)
    videos = []
    for row in read_rows(path, VIDEOS_FORM):
        first_id, _, count = row.numbers
        if count == 0:
            raise InputError(f"{path}:{row.line}: a clip of 0 frames; drop the line")
        videos.append(VideoEntry(Path(root) / "Data" / "VID", row.name, first_id, count))
    return videos


test_videos.__test__ = False  # pytest would take the name for a test


def training_index(
    root: str | Path,
    entries: Sequence[TrainEntry],
    classes: ClassList,
    *,
    cache: Path | None = None,
    workers: int = 0,
    progress: bool = True,
) -> AnnotationIndex:
    """Index of a training list: image i is `entries[i]`. Objects of a DET image outside `classes` are left out.

    (ILSVRC DET marks 200 classes, of which training takes the 30 of VID; an unknown class in VID is an InputError.)
    """
    parts = []
    for kind, run in itertools.groupby(entries, key=lambda entry: entry.kind):
        parts.append(
            build_index(
                Path(root) / "Annotations" / kind,
                [entry.image_id for entry in run],
                classes,
                cache=cache,
                workers=workers,
                progress=progress,
                unknown="skip" if kind == "DET" else "error",
            )
        )
    return joined(parts)


def training_boxes(index: AnnotationIndex, image: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of an image clipped to it, (n, 4) float32 inclusive pixels, and their classes (n,) int32 in 1..C."""
    rows = slice(index.offsets[image], index.offsets[image + 1])
    last = np.tile(index.sizes[image].astype(np.float32) - 1, 2)
    return np.clip(index.boxes[rows], np.float32(0), last), index.classes[rows]
