"""Result files: JSON for reading, and beside it the outcomes of all detections, which comparisons need."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from lib.dataset.classes import ClassList
from lib.errors import InputError
from lib.eval.bootstrap import Interval
from lib.eval.evaluation import Evaluation
from lib.eval.outcomes import Outcomes
from lib.eval.ranges import Range
from lib.files import replacing, sha256


def result_dict(
    result: Evaluation,
    manifest: dict,
    *,
    intervals: dict[str, Interval] | None = None,
    coco: dict | None = None,
) -> dict:
    """For JSON: "ap" [motion][area][class] and "mean" [motion][area] (-1.0: no object in range), and what they are of.

    "map": {motion range name: {"map", "low", "high"}} over all areas (low and high where intervals are given).
    """
    by_motion = {}
    for r, entry in enumerate(result.motion_ranges):
        by_motion[entry.name] = {"map": float(result.mean[r, 0])}
        if intervals is not None:
            by_motion[entry.name].update(low=intervals[entry.name].low, high=intervals[entry.name].high)
    return {
        "ap": result.ap.tolist(),
        "mean": result.mean.tolist(),
        "map": by_motion,
        "motion_ranges": [asdict(entry) for entry in result.motion_ranges],
        "area_ranges": [asdict(entry) for entry in result.area_ranges],
        "classes": {
            "ids": result.classes.ids,
            "names": result.classes.names,
            "colours": [list(colour) for colour in result.classes.colours],
        },
        "objects": result.objects.tolist(),
        "unknown_frames": result.unknown_frames,
        **({"coco": coco} if coco is not None else {}),
        "manifest": manifest,
    }


def save_result(
    path: Path,
    result: Evaluation,
    manifest: dict,
    *,
    intervals: dict[str, Interval] | None = None,
    coco: dict | None = None,
) -> None:
    """Writes PATH (JSON, `result_dict`) and beside it PATH's name with .outcomes.npz, named in it by its SHA-256."""
    path = Path(path)
    beside = path.with_name(f"{path.stem}.outcomes.npz")
    result.outcomes.save(beside)
    content = result_dict(result, manifest, intervals=intervals, coco=coco)
    content["outcomes"] = {"file": beside.name, "sha256": sha256(beside)}
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.write("\n")


def load_result(path: Path) -> Evaluation:
    """Reads what `save_result` wrote. Raises InputError: missing, something else, or outcomes of another run."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        beside = path.with_name(Path(content["outcomes"]["file"]).name)
        if not beside.is_file():
            raise InputError(f"{beside}: missing; it belongs to {path.name}: copy it too, or evaluate again")
        if sha256(beside) != content["outcomes"]["sha256"]:
            raise InputError(f"{beside}: not the outcomes that {path.name} was written with; evaluate again")
        colours = [tuple(colour) for colour in content["classes"]["colours"]]
        return Evaluation(
            ClassList(content["classes"]["ids"], content["classes"]["names"], colours),
            tuple(Range(**entry) for entry in content["motion_ranges"]),
            tuple(Range(**entry) for entry in content["area_ranges"]),
            np.array(content["ap"], np.float64),
            np.array(content["mean"], np.float64),
            np.array(content["objects"], np.int64),
            Outcomes.load(beside),
            int(content["unknown_frames"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a result of lib.eval.vid_map ({error!r}); evaluate with --json") from error
