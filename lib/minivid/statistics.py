"""Statistics of a MiniVID dataset: objects by motion, area and class, and how far fast objects move."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.dataset.classes import ClassList
from lib.dataset.index import AnnotationIndex, build_index
from lib.dataset.lists import find_clips
from lib.dataset.motion import motion_iou

# (name, low, high) as in the evaluation of ImageNet VID: motion IoU, and area of the box in px.
MOTION = (("slow", 0.9, 1.01), ("medium", 0.7, 0.9), ("fast", 0.0, 0.7))
AREA = (("small", 0.0, 50.0**2), ("middle", 50.0**2, 150.0**2), ("large", 150.0**2, np.inf))
DISTANCES = (1, 4, 9)  # frames
_PARTS = (5, 25, 50, 75, 95)  # percentiles


@dataclass(frozen=True)
class Statistics:
    """Statistics of one split.

    counts: (3, 3) int, boxes by motion (slow, medium, fast) and area (small, middle, large). classes: (C,) int, boxes
    by class. per_frame: (n,) int, frames with 0, 1, ... objects. far: {frames apart: percentiles (5,) in px} of how far
    the centre of a fast object's box moves. speed: percentiles (5,) of the same for adjacent frames, divided by the
    square root of the box's area.
    """

    clips: int
    frames: int
    counts: np.ndarray
    classes: np.ndarray
    occluded: int
    per_frame: np.ndarray
    far: dict[int, np.ndarray]
    speed: np.ndarray


def measure(root: str | Path, split: str, progress: bool = False) -> Statistics:
    """Statistics of a split ("train" or "val") of the dataset at `root`. Raises InputError as `build_index` does."""
    root = Path(root)
    clips = find_clips(root, split)
    names = [f"{video}/{frame:06d}" for video, count in clips for frame in range(count)]
    classes = ClassList.load(root / "classes.txt")
    index = build_index(root / "Annotations" / "VID", names, classes, progress=progress)
    iou = motion_iou(index)
    area = np.prod(index.boxes[:, 2:] - index.boxes[:, :2] + 1, axis=1)
    motions = np.stack([(iou >= low) & (iou < high) for _, low, high in MOTION])
    areas = np.stack([(area >= low) & (area < high) for _, low, high in AREA])
    far, speed = {}, np.zeros(len(_PARTS))
    for distance in DISTANCES:
        first, moved = _moves(index, clips, distance)
        fast = motions[2][first]
        far[distance] = _percentiles(moved[fast])
        if distance == 1:
            speed = _percentiles(moved[fast] / np.sqrt(area[first[fast]]))
    return Statistics(
        len(clips),
        len(names),
        motions.astype(int) @ areas.T.astype(int),
        np.bincount(index.classes, minlength=len(classes) + 1)[1:],
        int(index.occluded.sum()),
        np.bincount(np.diff(index.offsets)),
        far,
        speed,
    )


def _percentiles(values: np.ndarray) -> np.ndarray:
    return np.percentile(values, _PARTS) if len(values) else np.full(len(_PARTS), np.nan)


def _moves(index: AnnotationIndex, clips: list[tuple[str, int]], distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n,) of objects that are still visible `distance` frames later, and how far (n,) px their centres move."""
    image = np.repeat(np.arange(len(index)), np.diff(index.offsets))
    clip = np.repeat(np.arange(len(clips)), [count for _, count in clips])[image]
    rows = {key: row for row, key in enumerate(zip(clip.tolist(), image.tolist(), index.tracks.tolist()))}
    pairs = [(row, rows.get((c, i + distance, track))) for (c, i, track), row in rows.items()]
    found = np.array([pair for pair in pairs if pair[1] is not None], np.int64).reshape(-1, 2)
    middle = (index.boxes[:, :2] + index.boxes[:, 2:]) / 2
    return found[:, 0], np.linalg.norm(middle[found[:, 1]] - middle[found[:, 0]], axis=1)


def table(root: str | Path, splits: tuple[str, ...] = ("train", "val")) -> str:
    """The statistics of a dataset as text."""
    names = ClassList.load(Path(root) / "classes.txt").names
    return "\n\n".join(_text(split, measure(root, split), names) for split in splits)


def _text(split: str, found: Statistics, names: list[str]) -> str:
    total = max(int(found.counts.sum()), 1)
    percent = " ".join(f"{part:>6}%" for part in _PARTS)
    lines = [
        f"{split}: {found.clips} clips, {found.frames} frames, {total} objects, "
        f"{total / max(found.frames, 1):.2f} a frame, {found.occluded / total:.1%} occluded",
        "frames by their number of objects: " + ", ".join(f"{n}: {count}" for n, count in enumerate(found.per_frame)),
        "objects by class: " + ", ".join(f"{name} {count}" for name, count in zip(names, found.classes)),
        f"{'':8}" + "".join(f"{name:>8}" for name, _, _ in AREA) + f"{'all':>8}{'share':>8}",
    ]
    for (name, _, _), row in zip(MOTION, found.counts):
        lines.append(f"{name:8}" + "".join(f"{n:8d}" for n in row) + f"{row.sum():8d}{row.sum() / total:8.3f}")
    columns = found.counts.sum(0)
    lines.append(f"{'all':8}" + "".join(f"{n:8d}" for n in columns) + f"{total:8d}")
    lines.append(f"{'share':8}" + "".join(f"{n / total:8.3f}" for n in columns))
    lines.append(f"fast objects, percentiles           {percent}")
    for distance, values in found.far.items():
        lines.append(f"px moved within {distance} frame(s)          " + " ".join(f"{value:7.1f}" for value in values))
    lines.append("share of sqrt(area) moved a frame   " + " ".join(f"{value:7.3f}" for value in found.speed))
    return "\n".join(lines)
