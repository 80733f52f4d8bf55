"""A stored result together with the detections and the ground truth that it was computed from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib.errors import InputError, quoted
from lib.eval.detections import DetectionTable, read_detections
from lib.eval.evaluation import Evaluation, Matching, match
from lib.eval.ranges import MOTION
from lib.eval.rescore import rescore
from lib.eval.results import load_result
from lib.eval.truth import Truth, load_truth
from lib.files import sha256
from lib.reading import foreign, read_json


@dataclass(frozen=True)
class Run:
    """A result, its detections and objects, and which found which. annotations: the folder of the XML files."""

    path: Path
    result: Evaluation
    detections: DetectionTable
    truth: Truth
    found: Matching
    annotations: Path

    @property
    def has_tracks(self) -> bool:
        """Whether the annotations number their objects."""
        return bool((self.truth.tracks >= 0).any())


def load_run(path: Path, *, annotations: Path | None = None, cache: Path | None = None) -> Run:
    """Load a result of `save_result` with the files that its manifest names.

    annotations: where this folder is now, if it was moved. cache: as in `load_truth`.
    Raises InputError if the manifest is damaged or does not name a file, or the file is missing or was changed after
    the evaluation.
    """
    result = load_result(path)
    with foreign(path, "its manifest is damaged", "evaluate again, with --json"):
        about = read_json(path, "evaluate again, with --json")["manifest"]
        iou, seq_nms = about.get("iou", 0.5), about.get("seq_nms", False)
        if not (isinstance(iou, (int, float)) and 0 < iou <= 1 and isinstance(seq_nms, bool)):
            raise ValueError(f"IoU {quoted(iou)}, Seq-NMS {quoted(seq_nms)}")
        image_set = _unchanged(path, about, "image_set")[0]
        files = _unchanged(path, about, "detections")
        motion_file = _unchanged(path, about, "motion_iou")[0] if about.get("motion_iou") else None
        folder = annotations or _named(path, about, "annotations")[0][0]
    truth = load_truth(folder, image_set, result.classes, motion_file=motion_file,
                       motion=result.motion_ranges != MOTION[:1], cache=cache, progress=False)  # fmt: skip
    table = read_detections(files, len(result.classes))
    if seq_nms:
        table = rescore(table, truth.image_ids, truth.frame_ids, progress=False)
    found = match(table, truth, motion_ranges=result.motion_ranges, iou=iou)
    return Run(Path(path), result, table, truth, found, folder)


def _named(path: Path, about: dict, key: str) -> list[tuple[Path, str | None]]:
    """Paths and SHA-256 of the files that the manifest lists under `key`."""
    entries = about.get(key)
    if not entries:
        raise InputError(f"{path}: does not name its {key.replace('_', ' ')}; evaluate again, with --json")
    return [
        (Path(entry["path"]), entry.get("sha256")) for entry in (entries if isinstance(entries, list) else [entries])
    ]


def _unchanged(path: Path, about: dict, key: str) -> list[Path]:
    named = _named(path, about, key)
    for file, expected in named:
        if not file.is_file():
            raise InputError(
                f"{file}: not found, but required by {path}; run in the folder of the evaluation, or evaluate again"
            )
        if sha256(file) != expected:
            raise InputError(f"{file}: was changed after the evaluation in {path}; evaluate again")
    return [file for file, _ in named]
