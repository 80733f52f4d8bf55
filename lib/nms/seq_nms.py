"""Seq-NMS (Han et al., "Seq-NMS for Video Object Detection", 2016): rescoring of detections along a video."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import lib.nms._seq_nms as _seq_nms
from lib.nms.nms import nms

LINK_IOU = 0.5  # boxes of neighbouring frames with at least this IoU are taken for the same object


def seq_nms(
    dets: Sequence[Sequence[np.ndarray]],
    *,
    link_iou: float = LINK_IOU,
    suppress_iou: float = 0.3,
    min_sum: float = 0.01,
    nms_iou: float | None = None,
) -> list[list[np.ndarray]]:
    """Rescore the detections of one video, class by class.

    dets[class][frame] is an (N, 5) array x1 y1 x2 y2 score in inclusive pixels, for any number of classes and frames;
    N may be 0. Returns the same structure in float64 without the suppressed rows; the others keep their order and
    their box, with the new score.

    Boxes of neighbouring frames with IoU >= `link_iou` are linked. While at least one link is left, the path with the
    largest sum of scores among all remaining boxes is taken; a box without links is a path of length one. Among equal
    sums, the path whose last box comes first in (frame, row) order is taken, and a box extends a path only if that
    makes the sum strictly larger. All boxes of the path get its mean score, and boxes of the same frame with
    IoU >= `suppress_iou` to one of them are removed, with their links. The loop ends when no link is left or the best
    sum is below `min_sum`; the boxes that remain keep their scores, so a video of one frame is unchanged.

    If `nms_iou` is given, each frame then goes through NMS with this threshold.

    The sum of each box is kept and recomputed only if a removed box was part of its path, and only when it comes next
    in order. With a bounded number of boxes per frame the cost is therefore linear in the number of frames.

    Raises ValueError for an array of any other shape, classes with different numbers of frames, values that are not
    finite, and boxes without area (x2 <= x1 - 1 or y2 <= y1 - 1).
    """
    counts = sorted({len(frames) for frames in dets})
    if len(counts) > 1:
        raise ValueError(f"classes differ in their number of frames: {counts}")
    return [_one_class(name, frames, link_iou, suppress_iou, min_sum, nms_iou) for name, frames in enumerate(dets)]


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
    return result if nms_iou is None else [frame[np.sort(nms(frame, nms_iou))] for frame in result]


def _checked(name: int, number: int, frame: np.ndarray) -> np.ndarray:
    array = np.asarray(frame, np.float64)
    if array.size == 0:
        return np.empty((0, 5))
    if array.ndim != 2 or array.shape[1] != 5:
        raise ValueError(f"dets[{name}][{number}] has shape {array.shape}, not (N, 5) x1 y1 x2 y2 score")
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
