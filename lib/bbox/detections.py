"""The detections of one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

_FLOAT, _INT = np.dtype(np.float32), np.dtype(np.int32)
_ARRAYS = {"boxes": (_FLOAT, (4,)), "scores": (_FLOAT, ()), "classes": (_INT, ()), "tracks": (_INT, ())}


@dataclass(frozen=True)
class Detections:
    """Detections of one frame. Detectors sort them by class, then by score from high to low.

    boxes (N, 4) float32: x1 y1 x2 y2, inclusive pixels of the original image;
    scores (N,) float32; classes (N,) int32 in 1..C;
    tracks (N,) int32: track numbers, counted from 1 and unique within the frame; None if not tracked;
    class_names: the names of classes 1..C; empty if unknown.

    Raises ValueError if a shape, a dtype or a class is invalid. The arrays are not copied.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    tracks: np.ndarray | None = None
    class_names: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, (dtype, rest) in _ARRAYS.items():
            array = getattr(self, name)
            if array is None and name == "tracks":
                continue
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape[1:] != rest or not array.ndim:
                found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise ValueError(f"{name}: expected {dtype} {'(N, 4)' if rest else '(N,)'}, got {found}")
            if len(array) != len(self.boxes):
                raise ValueError(f"{name}: expected one for each of the {len(self.boxes)} boxes, got {len(array)}")
        if len(self):
            low, high = self.classes.min(), self.classes.max()
            if low < 1:
                raise ValueError(f"classes: expected numbers from 1 up, got {low}")
            if self.class_names and high > len(self.class_names):
                raise ValueError(f"classes: got {high}, but class_names has only {len(self.class_names)} names")

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def names(self) -> list[str]:
        """The class name of each detection. Raises ValueError if `class_names` is empty."""
        if not self.class_names:
            raise ValueError("these detections have no class names; set class_names when creating them")
        return [self.class_names[number - 1] for number in self.classes.tolist()]

    def where(self, keep: np.ndarray) -> Detections:
        """The detections selected by `keep`, a boolean mask (N,) or an array of indices."""
        tracks = None if self.tracks is None else self.tracks[keep]
        return replace(
            self, boxes=self.boxes[keep], scores=self.scores[keep], classes=self.classes[keep], tracks=tracks
        )

    def above(self, threshold: float) -> Detections:
        """The detections with a score of at least `threshold`."""
        return self.where(self.scores >= threshold)

    def to_supervision(self):
        """Convert to `supervision.Detections`, following the conventions of that package.

        Class ids count from 0; right and bottom edges are exclusive, hence x2 + 1 and y2 + 1. Tracks become
        `tracker_id`, and class names `data["class_name"]`, where they are known.

        Raises ImportError if the package supervision is not installed.
        """
        try:
            import supervision
        except ModuleNotFoundError as error:
            raise ImportError(
                "to_supervision() needs the package supervision; run `pip install supervision -c constraints.txt`"
            ) from error
        return supervision.Detections(
            xyxy=self.boxes + np.array([0, 0, 1, 1], np.float32),
            confidence=self.scores,
            class_id=self.classes - 1,
            tracker_id=self.tracks,
            data={"class_name": np.array(self.names, dtype=str)} if self.class_names else {},
        )
