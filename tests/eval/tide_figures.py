"""Makes tests/data/tide_case.json: a generated case and what the package tidecv 1.0.1 says about it.

    pip install tidecv && python -m tests.eval.tide_figures

tidecv is no test dependency, since it brings another build of OpenCV. Boxes have at least 60 pixels a side, so that the
threshold of our evaluation is 0.5, and at most 100 detections are in a frame, the most that tidecv reads.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

CASE = Path(__file__).parents[1] / "data" / "tide_case.json"
CLASSES, FRAMES = 3, 60
NAMES = {"Cls": "classification", "Loc": "localisation", "Both": "both", "Dupe": "duplicate", "Bkg": "background",
         "Miss": "missed"}  # fmt: skip


def generate() -> dict:
    """Objects [frame, class, x1 y1 x2 y2] and detections [frame, class, score, x1 y1 x2 y2], inclusive pixels."""
    rng = np.random.default_rng(7)
    objects, detections = [], []
    for frame in range(FRAMES):
        for _ in range(rng.integers(0, 5)):
            corner, size = rng.integers(0, 300, 2), rng.integers(60, 160, 2)
            box = np.concatenate([corner, corner + size])
            objects.append([frame, int(rng.integers(1, CLASSES + 1)), *box.tolist()])
            for _ in range(rng.integers(0, 4)):
                moved = box + rng.normal(0, rng.choice([4, 25, 60]), 4).round(1)
                moved[2:] = np.maximum(moved[2:], moved[:2] + 20)
                label = objects[-1][1] if rng.random() < 0.7 else int(rng.integers(1, CLASSES + 1))
                detections.append([frame, label, 0, *moved.round(1).tolist()])
        for _ in range(rng.integers(0, 3)):
            corner = rng.integers(0, 400, 2)
            size = rng.integers(30, 100, 2)
            detections.append(
                [frame, int(rng.integers(1, CLASSES + 1)), 0, *corner.tolist(), *(corner + size).tolist()]
            )
    for row, score in zip(detections, rng.permutation(len(detections))):
        row[2] = round((int(score) + 1) / (len(detections) + 1), 6)  # all different
    return {"objects": objects, "detections": detections}


def judged(case: dict) -> dict:
    """The kind of each detection ("" if correct), the missed objects, and the gains in mAP, by tidecv."""
    from tidecv import TIDE, Data  # not installed with the tests

    truth, found = Data("truth"), Data("found")
    for frame in range(FRAMES):
        for data in (truth, found):
            data.add_image(frame, str(frame))
    for frame, label, *box in case["objects"]:
        truth.add_ground_truth(frame, label, [box[0], box[1], box[2] - box[0] + 1, box[3] - box[1] + 1])
    for frame, label, score, *box in case["detections"]:
        found.add_detection(frame, label, score, [box[0], box[1], box[2] - box[0] + 1, box[3] - box[1] + 1])
    tide = TIDE()
    run = tide.evaluate(truth, found, mode=TIDE.BOX)
    kinds, missed = [""] * len(case["detections"]), []
    for error in run.errors:
        if error.short_name == "Miss":
            missed.append(error.gt["_id"])
        else:
            kinds[error.pred["_id"]] = NAMES[error.short_name]
    gains = {NAMES[name]: value for name, value in tide.get_main_errors()["found"].items()}
    return {"kinds": kinds, "missed": sorted(missed), "map": run.ap, "gains": gains}


if __name__ == "__main__":
    case = generate()
    CASE.write_text(json.dumps({**case, **judged(case)}) + "\n")
