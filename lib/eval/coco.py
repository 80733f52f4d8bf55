"""COCO-style average precision, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np

from lib.dataset.classes import ClassList
from lib.errors import InputError
from lib.eval.detections import DetectionTable
from lib.eval.truth import Truth

NAMES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")


def coco_average_precision(detections: DetectionTable, truth: Truth, classes: ClassList) -> dict:
    """{"AP": AP@[.5:.95], "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "classes": [AP@[.5:.95]]}.

    COCO's own rules apply: its area bounds of 32 and 96 squared, at most 100 detections per frame and class, no motion.
    Widths are inclusive, as everywhere in lib.eval. Values are -1.0 without any object. Detections on frames outside
    the image set are ignored. Raises InputError if pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise InputError("COCO-style AP needs pycocotools; run `pip install pycocotools`") from error
    if not len(truth.classes):
        return {**dict.fromkeys(NAMES, -1.0), "classes": [-1.0] * len(classes)}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints progress
        gt = COCO()
        gt.dataset = {
            "images": [{"id": int(frame)} for frame in truth.frame_ids],
            "categories": [{"id": c + 1, "name": name} for c, name in enumerate(classes.names)],
            "annotations": _objects(truth),
        }
        gt.createIndex()
        found = COCO()
        found.dataset = {**gt.dataset, "annotations": _found(detections, truth)}
        found.createIndex()
        evaluation = COCOeval(gt, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (thresholds, recalls, classes), all areas
    per_class = []
    for number in range(precision.shape[2]):
        known = precision[:, :, number][precision[:, :, number] > -1]
        per_class.append(float(known.mean()) if len(known) else -1.0)
    return {**dict(zip(NAMES, map(float, evaluation.stats[: len(NAMES)]))), "classes": per_class}


def _entry(frame: int, cls: int, box: np.ndarray, number: int) -> dict:
    width, height = float(box[2] - box[0] + 1), float(box[3] - box[1] + 1)
    place = [float(box[0]), float(box[1]), width, height]
    return {"id": number, "image_id": frame, "category_id": cls, "bbox": place, "area": width * height, "iscrowd": 0}


def _objects(truth: Truth) -> list[dict]:
    frames = np.repeat(truth.frame_ids, np.diff(truth.object_starts)).tolist()
    rows = zip(frames, truth.classes.tolist(), truth.boxes)
    return [_entry(frame, cls, box, number) for number, (frame, cls, box) in enumerate(rows, 1)]


def _found(detections: DetectionTable, truth: Truth) -> list[dict]:
    known = detections.take(np.isin(detections.frame_ids, truth.frame_ids))
    rows = zip(known.frame_ids.tolist(), known.classes.tolist(), known.boxes)
    entries = [_entry(frame, cls, box, number) for number, (frame, cls, box) in enumerate(rows, 1)]
    for entry, score in zip(entries, known.scores.tolist()):
        entry["score"] = score
    return entries
