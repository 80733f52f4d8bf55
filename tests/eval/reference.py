"""The evaluation in plain Python, to check the compiled one against; tables of it; and the golden case's files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from bench.evaluation_reference import (
    AREA,
    MOTION,
    area,
    average_precision,
    class_list,
    evaluate,
    frame_counts,
    inside,
)
from lib.bbox.detections import Detections
from lib.dataset.imagenet_vid import AnnotationIndex
from lib.eval.detections import DetectionTable
from lib.eval.truth import Truth

CASE = Path(__file__).parents[1] / "data" / "evaluation_case_a"


def unpack_annotations(folder):
    """The XML files of the golden case below `folder`/Annotations."""
    with zipfile.ZipFile(CASE / "annotations.zip") as archive:
        archive.extractall(folder / "Annotations")
    return folder / "Annotations" / "VID"


def truth_of(frames, per_video=2):
    """Truth of frames [(id, [(class, box, motion)])], `per_video` of them in each video."""
    objects = [entry for _, entries in frames for entry in entries]
    count = len(objects)
    index = AnnotationIndex(
        [f"val/video{i // per_video}/{i % per_video:06d}" for i in range(len(frames))],
        np.full((len(frames), 2), 500, np.int32),
        np.cumsum([0] + [len(entries) for _, entries in frames]).astype(np.int64),
        np.array([box for _, box, _ in objects], np.float32).reshape(-1, 4),
        np.array([cls for cls, _, _ in objects], np.int32),
        np.zeros(count, np.int32),
        np.zeros(count, bool),
        np.zeros(count, bool),
    )
    return Truth.of(index, [frame_id for frame_id, _ in frames], np.array([value for _, _, value in objects]))


def table_of(detections):
    """Table of [(frame id, class, score, box)]."""
    if not detections:
        return DetectionTable.empty()
    ids, classes, scores, boxes = zip(*detections)
    return DetectionTable(
        np.array(ids, np.int64), np.array(classes, np.int32), np.array(scores), np.array(boxes, np.float64)
    )


def found(boxes, scores, classes):
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(classes, np.int32)
    )


__all__ = ["AREA", "MOTION", "area", "average_precision", "class_list", "evaluate", "frame_counts", "inside"]
