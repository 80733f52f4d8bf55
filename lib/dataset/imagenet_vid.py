"""Datasets in the ImageNet VID layout: entries of the list files, and their annotations as one compact index.

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
from lib.errors import InputError, quoted

__all__ = [
    "AnnotationIndex",
    "TrainEntry",
    "VideoEntry",
    "build_index",
    "list_path",
    "train_entries",
    "training_boxes",
    "training_index",
    "video_entries",
]


@dataclass(frozen=True)
class TrainEntry:
    """One image of a training list.

    kind: VID or DET; image_id: path below Data/<kind> without suffix; video: its folder there; frame: 0..num_frames-1.
    For a DET image, video is None, frame 0 and num_frames 1.
    """

    folder: Path
    kind: str
    image_id: str
    video: str | None
    frame: int
    num_frames: int

    @property
    def image(self) -> Path:
        """Path of the image."""
        return self.folder / f"{self.image_id}.JPEG"

    def neighbour(self, offset: int) -> Path:
        """Path of the image `offset` frames away, clamped to the clip. A DET image is its own neighbour."""
        if self.video is None:
            return self.image
        frame = min(max(self.frame + offset, 0), self.num_frames - 1)
        return self.folder / self.video / f"{frame:06d}.JPEG"


@dataclass(frozen=True)
class VideoEntry:
    """One clip of a test list: its folder `video` below Data/VID, the id of its first frame, its number of frames."""

    folder: Path
    video: str
    first_id: int
    num_frames: int

    @property
    def image_ids(self) -> list[str]:
        """Image ids of the frames, in order."""
        return [f"{self.video}/{frame:06d}" for frame in range(self.num_frames)]

    @property
    def frames(self) -> list[Path]:
        """Paths of the frames, in order."""
        return [self.folder / f"{image_id}.JPEG" for image_id in self.image_ids]


def list_path(root: str | Path, image_set: str) -> Path:
    """Path of an image set's list, ROOT/ImageSets/<image_set>.txt."""
    return Path(root) / "ImageSets" / f"{image_set}.txt"


def train_entries(root: str | Path, image_sets: str) -> list[TrainEntry]:
    """Entries, in order, of training lists joined by `+`, such as `DET_train_30classes+VID_train_15frames`.

    Raises InputError if a list is missing or malformed (with file and line) or its name starts with neither DET_ nor
    VID_.
    """
    entries: list[TrainEntry] = []
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
                    raise InputError(f"{path}:{row.line}: no frame {frame} in a clip of {count}; frames count from 0")
                entries.append(TrainEntry(folder, kind, f"{row.name}/{frame:06d}", row.name, frame, count))
        else:
            raise InputError(
                f"image set {quoted(image_set)} of {quoted(image_sets)}: the name must start with DET_ or VID_"
            )
    return entries


def video_entries(root: str | Path, image_set: str) -> list[VideoEntry]:
    """Clips of a test list such as `VID_val_videos`.

    Raises InputError if the list is missing or malformed or has a clip without frames.
    """
    path = list_path(root, image_set)
    videos = []
    for row in read_rows(path, VIDEOS_FORM):
        first_id, _, count = row.numbers
        if count == 0:
            raise InputError(f"{path}:{row.line}: a clip of 0 frames; remove the line")
        videos.append(VideoEntry(Path(root) / "Data" / "VID", row.name, first_id, count))
    return videos


def training_index(
    root: str | Path, entries: Sequence[TrainEntry], classes: ClassList, *, cache: Path | None = None
) -> AnnotationIndex:
    """Index of a training list: image i is `entries[i]`. cache: as of `build_index`.

    Objects of unknown classes are left out in DET, which annotates 200 classes of which VID has 30. Raises InputError
    for an unknown class in VID, and as `build_index` does.
    """
    parts = []
    for kind, run in itertools.groupby(entries, key=lambda entry: entry.kind):
        parts.append(
            build_index(
                Path(root) / "Annotations" / kind,
                [entry.image_id for entry in run],
                classes,
                cache=cache,
                unknown="skip" if kind == "DET" else "error",
            )
        )
    return joined(parts)


def training_boxes(index: AnnotationIndex, image: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) float32 of an image, inclusive pixels clipped to the image, and their classes (n,) int32 in 1..C."""
    rows = slice(index.offsets[image], index.offsets[image + 1])
    last = np.tile(index.sizes[image].astype(np.float32) - 1, 2)
    return np.clip(index.boxes[rows], np.float32(0), last), index.classes[rows]
