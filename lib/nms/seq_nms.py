"""Seq-NMS (Han et al., "Seq-NMS for Video Object Detection", 2016): rescoring of detections along a video."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.nms import _seq_nms

LINK_IOU = 0.5  # boxes of neighbouring frames that overlap so much are taken for one object


def seq_nms(
    dets: Sequence[Sequence[np.ndarray]],
    *,
    link_iou: float = LINK_IOU,
    suppress_iou: float = 0.3,
    min_sum: float = 0.01,
    nms_iou: float | None = None,
) -> list[list[np.ndarray]]:
    """Rescored detections of one video, class by class.

    dets[class][frame] is an (N, 5) array x1 y1 x2 y2 score, inclusive pixels; any number of classes and frames,
    frames may be empty. Returns the same structure in float64: rows that were suppressed are gone, the others stay
    in their order with their box and their new score.

    Boxes of neighbouring frames with IoU >= `link_iou` are linked. While at least one link is left, the path with the
    largest sum of scores among all remaining boxes is taken; a box without links is a path of length one. Among equal
    sums, the path whose last box comes first in (frame, row) order is taken, and a box extends a path only if that
    makes the sum strictly larger. All boxes of the path get its mean score, and boxes of the same frame with
    IoU >= `suppress_iou` to one of them are removed, with their links. The loop ends when no link is left or the best
    sum is below `min_sum`; the boxes that remain keep their scores, so a video of one frame is unchanged.

    `nms_iou`, where given, then removes in each frame what overlaps a better box by more than that (stable on ties).

    Sums are kept per box and recomputed only where a lost box was on the way, and only when they are next to be
    looked at, so that the cost grows linearly with frames where tracks are bounded in number per frame.

    Raises ValueError for an array of another shape, classes with different frame counts, values that are not
    finite, and boxes without area (x2 <= x1 - 1 or y2 <= y1 - 1).
    """
    if len({len(frames) for frames in dets}) > 1:
        raise ValueError(f"classes differ in their number of frames: {sorted({len(frames) for frames in dets})}")
    return [_one_class(name, frames, link_iou, suppress_iou, min_sum, nms_iou) for name, frames in enumerate(dets)]


def nms_of_frame(rows: np.ndarray, threshold: float) -> np.ndarray:
    """Indices, ascending, of rows (N, 5) x1 y1 x2 y2 score that greedy NMS keeps (removes IoU > threshold)."""
    rows = np.ascontiguousarray(rows, np.float64)
    keep = np.ones(len(rows), np.uint8)
    _seq_nms.nms(rows, np.argsort(-rows[:, 4], kind="stable"), threshold, keep)
    return np.flatnonzero(keep)


def _one_class(
    name: int,
    frames: Sequence[np.ndarray],
    link_iou: float,
    suppress_iou: float,
    min_sum: float,
    nms_iou: float | None,
) -> list[np.ndarray]:
    if not len(frames):
        return []
    checked = [_checked(name, number, frame) for number, frame in enumerate(frames)]
    offsets = np.zeros(len(frames) + 1, np.int64)
    np.cumsum([len(frame) for frame in checked], out=offsets[1:])
    rows = np.concatenate(checked)
    _check_values(name, rows, offsets)
    n = len(rows)
    scores, best, key = (np.empty(n) for _ in range(3))
    parent, heap, stack, frame_of = (np.empty(n, np.int64) for _ in range(4))
    keep, alive, stale = (np.empty(n, np.uint8) for _ in range(3))
    if n:
        _seq_nms.rescore(
            rows, offsets, link_iou, suppress_iou, min_sum,
            scores, keep, best, key, parent, heap, stack, alive, stale, frame_of,
        )  # fmt: skip
    rows[:, 4] = scores
    result = [rows[a:b][keep[a:b] != 0] for a, b in zip(offsets[:-1], offsets[1:])]
    return result if nms_iou is None else [frame[nms_of_frame(frame, nms_iou)] for frame in result]


def _checked(name: int, number: int, frame: np.ndarray) -> np.ndarray:
    array = np.asarray(frame, np.float64)
    if array.size == 0:
        return np.empty((0, 5))
    if array.ndim != 2 or array.shape[1] != 5:
        raise ValueError(f"dets[{name}][{number}] has shape {array.shape}; (N, 5) x1 y1 x2 y2 score is expected")
    return array


def _check_values(name: int, rows: np.ndarray, offsets: np.ndarray) -> None:
    faults = {
        "a value that is not finite": ~np.isfinite(rows).all(axis=1),
        "an inverted box": (rows[:, 2] <= rows[:, 0] - 1) | (rows[:, 3] <= rows[:, 1] - 1),
    }
    for fault, where in faults.items():
        if where.any():
            row = int(np.flatnonzero(where)[0])
            frame = int(np.searchsorted(offsets, row, side="right")) - 1
            raise ValueError(f"dets[{name}][{frame}] row {row - offsets[frame]}: {fault}: {rows[row].tolist()}")
