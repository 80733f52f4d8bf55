"""Result files: JSON with the figures, and the outcomes of all detections, which comparisons need."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from lib.dataset.classes import ClassList
from lib.errors import InputError
from lib.eval.bootstrap import Interval
from lib.eval.evaluation import Evaluation
from lib.eval.outcomes import Outcomes
from lib.eval.ranges import Range, checked
from lib.files import sha256, write_json
from lib.output_paths import is_stream
from lib.reading import foreign, read_json


def outcomes_path(path: Path) -> Path:
    """The file beside a result that has its outcomes."""
    return path.with_name(f"{path.stem}.outcomes.npz")


def save_result(
    path: Path,
    result: Evaluation,
    manifest: dict,
    *,
    intervals: dict[str, Interval] | None = None,
    coco: dict | None = None,
) -> None:
    """Write a result to `path` (JSON) and its outcomes to `<stem>.outcomes.npz` in the same folder.

    The JSON has "ap" [motion][area][class] and "mean" [motion][area] (-1.0 without objects in range); "map"
    {motion range: {"map", "low", "high"}} over all areas, with bounds if `intervals` are given; ranges, classes, counts
    of objects, the manifest, and the SHA-256 of the outcomes. A stream, such as /dev/stdout, gets no outcomes.
    """
    path = Path(path)
    about_outcomes = None
    if not is_stream(path):
        outcomes = outcomes_path(path)
        result.outcomes.save(outcomes)
        about_outcomes = {"file": outcomes.name, "sha256": sha256(outcomes)}
    by_motion = {}
    for r, entry in enumerate(result.motion_ranges):
        by_motion[entry.name] = {"map": float(result.mean[r, 0])}
        if intervals is not None:
            by_motion[entry.name].update(low=intervals[entry.name].low, high=intervals[entry.name].high)
    content = {
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
        "outcomes": about_outcomes,
    }
    write_json(path, content)


def load_result(path: Path) -> Evaluation:
    """Read a result written by `save_result`.

    Raises InputError if one of its two files is missing or invalid, or the outcomes are those of another run.
    """
    path = Path(path)
    advice = "evaluate with --json"
    content = read_json(path, f"not a result of lib.eval.vid_map; {advice}")
    with foreign(path, "not a result of lib.eval.vid_map", advice):
        outcomes = path.with_name(Path(content["outcomes"]["file"]).name)
        if not outcomes.is_file():
            raise InputError(f"{outcomes}: not found, but required by {path.name}; copy it too, or evaluate again")
        if sha256(outcomes) != content["outcomes"]["sha256"]:
            raise InputError(f"{outcomes}: does not match {path.name}, its outcomes were replaced; evaluate again")
        colours = [tuple(colour) for colour in content["classes"]["colours"]]
        result = Evaluation(
            ClassList(content["classes"]["ids"], content["classes"]["names"], colours),
            checked([Range(**entry) for entry in content["motion_ranges"]], "motion"),
            checked([Range(**entry) for entry in content["area_ranges"]], "area"),
            np.array(content["ap"], np.float64),
            np.array(content["mean"], np.float64),
            np.array(content["objects"], np.int64),
            Outcomes.load(outcomes),
            int(content["unknown_frames"]),
        )
        _check(result)
        return result


def _check(result: Evaluation) -> None:
    """Raises ValueError if the parts of a result do not fit each other."""
    classes, ranges = result.classes, (*result.motion_ranges, *result.area_ranges)
    words = [*classes.ids, *classes.names, *(entry.name for entry in ranges)]
    shape = result.outcomes.video_objects.shape[1:]
    if not all(isinstance(word, str) for word in words) or not all(entry.low <= entry.high for entry in ranges):
        raise ValueError("a name is not text, or a range is not LOW <= HIGH")
    if shape != (len(result.motion_ranges), len(result.area_ranges), len(classes)):
        raise ValueError(f"outcomes of {shape} motion ranges, area ranges and classes")
    if not (len(classes.names) == len(classes.colours) == len(classes)):
        raise ValueError("names, ids and colours of the classes differ in number")
    if not (result.ap.shape == result.objects.shape == shape and result.mean.shape == shape[:2]):
        raise ValueError(f"figures of {result.ap.shape}, {result.objects.shape} and {result.mean.shape}")
