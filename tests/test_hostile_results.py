"""Results that no tool wrote: outcomes and detections are checked before compiled code reads them, and rows too."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lib.bbox.detections import Detections
from lib.errors import InputError
from lib.eval.detections import RECORD, read_detections
from lib.eval.outcomes import Outcomes
from lib.video.records import JsonLines
from tests.video.results import CLASSES, kept


def outcomes(**changes):
    arrays = {
        "starts": np.array([0, 2]), "scores": np.array([0.9, 0.5]), "kinds": np.array([[4], [1]], np.uint8),
        "areas": np.array([1, 1], np.uint64), "frames": np.array([0, 1], np.int32), "shares": np.zeros((2, 1)),
        "frame_videos": np.array([0, 0], np.int32), "videos": np.array(["v"]),
        "video_objects": np.ones((1, 1, 1, 1), np.int32), "video_motion": np.ones((1, 1), np.int64),
        "video_values": np.ones(1, np.int64),
    }  # fmt: skip
    return Outcomes(**{**arrays, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": np.array([0, 2**30], np.int32)},
        {"frames": np.array([-1, 0], np.int32)},
        {"frame_videos": np.array([0, 5], np.int32)},
        {"starts": np.array([0, 2**40])},
        {"starts": np.array([1, 2])},
        {"kinds": np.array([[9], [1]], np.uint8)},
        {"scores": np.array([np.nan, 0.5])},
        {"scores": np.array([0.5])},
        {"shares": np.zeros((2, 2))},
        {"videos": np.array([1])},
        {"video_objects": -np.ones((1, 1, 1, 1), np.int32)},
        {"areas": np.array([1.0, 1.0])},
    ],
)
def test_outcomes_before_they_reach_compiled_code(tmp_path, changes):
    np.savez(tmp_path / "good.npz", **vars(outcomes()))
    assert Outcomes.load(tmp_path / "good.npz").average_precision().tolist() == [[[1.0]]]
    np.savez(tmp_path / "a.npz", **vars(outcomes(**changes)))
    with pytest.raises(InputError, match=r"a\.npz: cannot read outcomes"):
        Outcomes.load(tmp_path / "a.npz")


def test_detections_of_any_size(tmp_path):
    (tmp_path / "a.txt").write_text("1 1 0.5 0 0 1e200 5\n")
    records = np.zeros(1, RECORD)
    records["box"] = 3e38
    np.save(tmp_path / "a.npy", records)
    for name in ("a.txt", "a.npy"):
        with pytest.raises(InputError, match="16777216 pixels"):
            read_detections([tmp_path / name])


@pytest.mark.parametrize("row", ["[]", "{}", '{"index": "x"}', '{"index": 1', "x", "null"])
def test_rows_of_an_earlier_run(tmp_path, row):
    path = tmp_path / "a.jsonl"
    path.write_text(f"{row}\n")
    with pytest.raises(InputError, match=r"a\.jsonl: row 1(: damaged|:1: broken JSON)"):
        JsonLines(path, CLASSES).start(kept(1))
    with pytest.raises(InputError, match=r"a\.jsonl:1:"):
        list(JsonLines(path, CLASSES).tracked())


def test_a_track_that_occurs_twice_in_an_earlier_run(tmp_path):
    thing = {"class": CLASSES.names[0], "class_id": 1, "score": 0.5, "box": [1.0, 2.0, 3.0, 4.0], "track": 1}
    frame = {"frame": "a", "index": 0, "width": 9, "height": 9}
    (tmp_path / "a.jsonl").write_text(json.dumps({**frame, "detections": [thing]}) + "\n")
    (found,) = JsonLines(tmp_path / "a.jsonl", CLASSES).tracked()
    assert isinstance(found, Detections) and found.tracks.tolist() == [1]
    (tmp_path / "a.jsonl").write_text(json.dumps({**frame, "detections": [thing, thing]}) + "\n")
    with pytest.raises(InputError, match="tracks that are not different numbers"):
        list(JsonLines(tmp_path / "a.jsonl", CLASSES).tracked())
