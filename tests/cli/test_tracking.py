"""Scores of tracks. TrackEval is not a dependency of the tests: without it, what needs it is skipped."""

from __future__ import annotations

import numpy as np
import pytest

from lib.bbox.detections import Detections
from lib.cli import tracking
from lib.cli.tracking import Tracks, mot_name, parse_mot, score
from lib.dataset.classes import ClassList
from lib.eval.detections import DetectionTable, write_detections
from lib.eval.truth import read_image_set
from tests.dataset.importing.imported import failure
from tests.tiny import ROOT

MINIVID = ROOT / "data/minivid_val"


def tracks(*rows):
    """Rows are (frame, id, class, left): boxes of 10 x 10 pixels."""
    table = np.array(rows, np.int64).reshape(-1, 4)
    left = table[:, 3].astype(float)
    return Tracks(table[:, 0], table[:, 1], table[:, 2], np.stack([left, left * 0, left + 9, left * 0 + 9], axis=1))


def test_scores_by_hand():
    pytest.importorskip("trackeval", reason="pip install --no-deps trackeval tabulate")
    truth = {"a": tracks(*((frame, 5, 1, 0) for frame in range(4)))}
    # Found in all frames, but as one object in the first two and another in the last two.
    found = {"a": tracks((0, 1, 1, 0), (1, 1, 1, 0), (2, 2, 1, 0), (3, 2, 1, 0))}
    result = score(truth, found, {"a": 4}, 2)["all"]
    # Every detection is right (DetA 1). Each of the 4 matches has A = 2 / (4 + 2 - 2) = 1/2; HOTA = sqrt(1 * 1/2).
    assert result["DetA"] == pytest.approx(100) and result["AssA"] == pytest.approx(50)
    assert result["HOTA"] == pytest.approx(100 * np.sqrt(0.5))
    # MOTA = 1 - 1 switch / 4; IDF1: one identity keeps 2 of the 4 boxes, 2 * 2 / (4 + 4).
    assert (result["MOTA"], result["IDSW"], result["IDF1"]) == (pytest.approx(75), 1, pytest.approx(50))


def test_classes_are_scored_separately():
    pytest.importorskip("trackeval", reason="pip install --no-deps trackeval tabulate")
    truth = {"a": tracks((0, 1, 1, 0), (1, 1, 1, 0), (0, 2, 2, 50), (1, 2, 2, 50)), "b": tracks()}
    wrong = {"a": tracks((0, 1, 1, 0), (1, 1, 1, 0), (0, 2, 1, 50), (1, 2, 1, 50)), "b": tracks()}
    lengths = {"a": 2, "b": 3}
    assert score(truth, truth, lengths, 2)["mean"]["HOTA"] == pytest.approx(100)
    result = score(truth, wrong, lengths, 2)
    assert result[2]["HOTA"] == 0 and 0 < result[1]["HOTA"] < 100
    assert result["mean"]["HOTA"] == pytest.approx(result[1]["HOTA"] / 2)


def exact_detections(path):
    """The annotations of the bundled videos as a detection file, with a faint false detection in each frame."""
    classes = ClassList.of_dataset(MINIVID)
    image_ids, frame_ids = read_image_set(MINIVID / "ImageSets/VID_val_videos.txt")
    index = tracking.build_index(MINIVID / "Annotations/VID", image_ids, classes)
    frames = []
    for place, frame_id in enumerate(frame_ids.tolist()):
        rows = slice(index.offsets[place], index.offsets[place + 1])
        boxes = np.concatenate([index.boxes[rows], np.float32([[0, 0, 5, 5]])])
        numbers = np.append(index.classes[rows], 1).astype(np.int32)
        frames.append((frame_id, Detections(boxes, np.float32([0.9] * (len(boxes) - 1) + [0.1]), numbers)))
    write_detections(path, DetectionTable.of_frames(frames))
    return index, path


def test_mot_files_of_tracked_detections(tmp_path, caplog):
    pytest.importorskip("trackeval", reason="pip install --no-deps trackeval tabulate")
    index, path = exact_detections(tmp_path / "detections.txt")
    options = ["--root", str(MINIVID), "--results", str(path), "--mot", str(tmp_path / "mot")]
    with caplog.at_level("INFO"):
        tracking.main(options)
    files = sorted((tmp_path / "mot/1").iterdir())
    videos = dict.fromkeys(image_id.rpartition("/")[0] for image_id in index.image_ids)
    assert [each.name for each in files] == sorted(map(mot_name, videos))
    assert sum(len(parse_mot(each.read_text(), "x").ids) for each in files) == len(index.boxes)
    table = {line.split()[0]: line.split()[1:] for line in caplog.text.splitlines() if line.startswith("all ")}
    hota, deta, _, mota, *_ = map(float, table["all"])
    assert 100 >= deta > 99 and mota > 95 and hota > 90, table  # exact boxes, of which tracks only exchange numbers
    caplog.clear()
    with caplog.at_level("INFO"):  # the MOT files give the same, and are compared with the detections
        tracking.main([*options[:3], str(tmp_path / "mot/1"), str(path)])
    rows = [line.split()[1:] for line in caplog.text.splitlines() if line.startswith("all ")]
    assert rows == [table["all"]] * 2 and "All classes" in caplog.text


def test_bad_input(tmp_path, capsys):
    (tmp_path / "mot").mkdir()
    line = failure(tracking.main, capsys, "--root", MINIVID, "--results", tmp_path / "mot")
    assert "cannot be read (No such file or directory); write a file for each video" in line
    with pytest.raises(tracking.InputError, match="x:2: write frame,id,left"):
        parse_mot("1,1,1,1,5,5,0.9,1,1\n1,1,1\n", "x")


def test_without_trackeval(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "trackeval.metrics", None)
    with pytest.raises(
        tracking.InputError, match="TrackEval is not installed; run `pip install --no-deps trackeval tabulate`"
    ):
        score({}, {}, {}, 1)
