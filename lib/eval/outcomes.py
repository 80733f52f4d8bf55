"""The outcome of each detection, from which average precision follows for any weighting of the videos."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

import lib.eval._vid_map as _vid_map
from lib.reading import foreign, load_arrays, save_arrays

_ADVICE = "evaluate again with --json"

NOTHING, FALSE, SHARE, EMPTY, TRUE = range(5)


@dataclass(frozen=True)
class Outcomes:
    """Outcomes of N detections, sorted by class, then by score from high to low; R motion ranges, A area ranges.

    starts (C + 1,) int64: class c (from 0) is rows starts[c]:starts[c + 1]; scores (N,) float64;
    kinds (N, R) uint8: what a detection counts as in a motion range (NOTHING, FALSE, SHARE, EMPTY or TRUE, above);
    areas (N,) uint64: bit a is set if it counts in area range a; frames (N,) int32: position in the image set;
    shares (F, R) float64: the fraction of a false positive that SHARE stands for in each frame;
    frame_videos (F,) int32: indices into videos (V,), the names;
    video_objects (V, R, A, C) int32: number of objects in range; video_motion (V, R) int64: number of motion values in
    range, where a frame without objects counts as one value 0; video_values (V,) int64: number of all motion values.
    """

    starts: np.ndarray
    scores: np.ndarray
    kinds: np.ndarray
    areas: np.ndarray
    frames: np.ndarray
    shares: np.ndarray
    frame_videos: np.ndarray
    videos: np.ndarray
    video_objects: np.ndarray
    video_motion: np.ndarray
    video_values: np.ndarray

    def average_precision(self, weights: np.ndarray | None = None) -> np.ndarray:
        """AP (R, A, C), -1 for a class without objects in range. weights (V,): how often each video counts."""
        if weights is None:
            weights = np.ones(len(self.videos))
        weights = np.asarray(weights, np.float64)
        objects = np.tensordot(weights, self.video_objects, 1)
        ap = np.empty(objects.shape)
        _vid_map.average_precision(
            self.starts, self.kinds, self.areas, self.frames, self.shares, self._empty(weights),
            weights[self.frame_videos], objects, ap,
        )  # fmt: skip
        return ap

    def select(self, motion: list[int], area: list[int]) -> Outcomes:
        """The outcomes for some of the motion and area ranges."""
        areas = np.zeros_like(self.areas)
        for bit, number in enumerate(area):
            areas |= ((self.areas >> np.uint64(number)) & np.uint64(1)) << np.uint64(bit)
        return replace(
            self,
            kinds=np.ascontiguousarray(self.kinds[:, motion]),
            areas=areas,
            shares=np.ascontiguousarray(self.shares[:, motion]),
            video_objects=np.ascontiguousarray(self.video_objects[:, motion][:, :, area]),
            video_motion=np.ascontiguousarray(self.video_motion[:, motion]),
        )

    def curve(self, motion: int, area: int, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Recall, precision and score after each detection that counts, for one class (from 0)."""
        rows = slice(self.starts[number], self.starts[number + 1])
        kinds = self.kinds[rows, motion]
        counts = (kinds != NOTHING) & ((self.areas[rows] >> np.uint64(area)) & np.uint64(1) == 1)
        kinds = kinds[counts]
        hits = np.cumsum(kinds == TRUE)
        part = np.select(
            [kinds == SHARE, kinds == EMPTY],
            [self.shares[self.frames[rows][counts], motion], self._empty(np.ones(len(self.videos)))[motion]],
            1.0,
        )
        seen = np.cumsum(part)
        objects = int(self.video_objects[:, motion, area, number].sum())
        precision = np.divide(hits, seen, out=np.zeros(len(seen)), where=seen > 0)
        return hits / max(objects, 1), precision, self.scores[rows][counts]

    def _empty(self, weights: np.ndarray) -> np.ndarray:
        return (weights @ self.video_motion) / max(float(weights @ self.video_values), 1e-300)

    def counting(self) -> Outcomes:
        """The detections that count in at least one range; average precision and curves are unchanged."""
        rows = (self.kinds != NOTHING).any(axis=1) & (self.areas != 0)
        starts = np.concatenate([[0], np.cumsum(rows)])[self.starts]
        return replace(
            self, starts=starts, scores=self.scores[rows], kinds=self.kinds[rows], areas=self.areas[rows],
            frames=self.frames[rows],
        )  # fmt: skip

    def save(self, path: str | os.PathLike) -> None:
        """Write the detections that count to an .npz file, with areas in the smallest integer type that fits."""
        arrays = vars(self.counting())
        areas = arrays["areas"].astype(np.min_scalar_type(int(arrays["areas"].max(initial=0))))
        save_arrays(path, {**arrays, "areas": areas}, compressed=True)

    @staticmethod
    def load(path: str | os.PathLike) -> Outcomes:
        """Read a file written by `save`. Raises InputError if it is missing or not such a file."""
        path = Path(path)
        with foreign(path, "cannot read outcomes", _ADVICE):
            arrays = load_arrays(path, _ADVICE)
            found = Outcomes(**{field.name: np.ascontiguousarray(arrays[field.name]) for field in fields(Outcomes)})
            found = replace(found, areas=found.areas.astype(np.uint64, casting="safe"))
            found._check()
        return found

    def _check(self) -> None:
        """Raises ValueError for another type or shape, or an index out of range: compiled code does not check them."""
        c, n, r = len(self.starts) - 1, len(self.scores), self.kinds.shape[-1]
        f, v, a = len(self.shares), len(self.videos), self.video_objects.shape[2]
        shapes: dict[str, tuple[type, tuple]] = {
            "starts": (np.int64, (c + 1,)), "scores": (np.float64, (n,)), "kinds": (np.uint8, (n, r)),
            "areas": (np.uint64, (n,)), "frames": (np.int32, (n,)), "shares": (np.float64, (f, r)),
            "frame_videos": (np.int32, (f,)), "videos": (np.str_, (v,)), "video_objects": (np.int32, (v, r, a, c)),
            "video_motion": (np.int64, (v, r)), "video_values": (np.int64, (v,)),
        }  # fmt: skip
        for name, (kind, shape) in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or not (array.dtype == kind or array.dtype.type is kind):
                raise ValueError(f"{name} is {array.dtype} {array.shape}, not {np.dtype(kind)} {shape}")
        for name, good in {
            "starts": self.starts[0] == 0 and self.starts[-1] == n and (np.diff(self.starts) >= 0).all(),
            "scores": np.isfinite(self.scores).all(),
            "kinds": self.kinds.max(initial=0) <= TRUE,
            "frames": _inside(self.frames, f),
            "shares": ((self.shares >= 0) & (self.shares <= 1)).all(),
            "frame_videos": _inside(self.frame_videos, v),
            "counts": min(each.min(initial=0) for each in (self.video_objects, self.video_motion)) >= 0,
            "video_values": self.video_values.min(initial=0) >= 0,
        }.items():
            if not good:
                raise ValueError(f"{name}: a value is out of range")


def _inside(indices: np.ndarray, count: int) -> bool:
    return bool(((indices >= 0) & (indices < count)).all())


def mean_over_classes(ap: np.ndarray) -> np.ndarray:
    """Mean over the classes (last axis) that have objects, those with AP >= 0; -1 if there are none."""
    known = ap >= 0
    count = known.sum(axis=-1)
    return np.where(count > 0, np.where(known, ap, 0).sum(axis=-1) / np.maximum(count, 1), -1.0)
