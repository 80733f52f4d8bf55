"""The detections of one frame: validation, selection, names, conversion to supervision."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from lib.bbox.detections import Detections

BOXES, SCORES, CLASSES = np.float32([[0, 1, 2, 3], [4, 5, 6, 7]]), np.float32([0.9, 0.2]), np.int32([1, 3])
PLAIN = Detections(BOXES, SCORES, CLASSES)
FOUND = Detections(BOXES, SCORES, CLASSES, tracks=np.int32([4, 17]), class_names=("a", "b", "c"))


@pytest.mark.parametrize("change, message", [
    ({"boxes": [[0, 1, 2, 3]] * 2}, r"boxes: expected float32 \(N, 4\), got list"),
    ({"boxes": BOXES.astype(np.float64)}, r"boxes: expected float32 \(N, 4\), got float64 \(2, 4\)"),
    ({"boxes": BOXES[:, :3]}, r"boxes: expected float32 \(N, 4\), got float32 \(2, 3\)"),
    ({"boxes": BOXES[0]}, r"boxes: expected float32 \(N, 4\), got float32 \(4,\)"),
    ({"boxes": BOXES[:1]}, "scores: expected one for each of the 1 boxes, got 2"),
    ({"scores": SCORES[:, None]}, r"scores: expected float32 \(N,\), got float32 \(2, 1\)"),
    ({"scores": np.float32([])}, "scores: expected one for each of the 2 boxes, got 0"),
    ({"scores": np.array(0.5, np.float32)}, r"scores: expected float32 \(N,\), got float32 \(\)"),
    ({"classes": np.int64([1, 3])}, r"classes: expected int32 \(N,\), got int64 \(2,\)"),
    ({"classes": np.int32([0, 3])}, "classes: expected numbers from 1 up, got 0"),
    ({"classes": np.int32([1, 4])}, "classes: got 4, but class_names has only 3 names"),
    ({"tracks": np.int32([1])}, "tracks: expected one for each of the 2 boxes, got 1"),
    ({"tracks": np.float32([1, 2])}, r"tracks: expected int32 \(N,\), got float32 \(2,\)"),
])  # fmt: skip
def test_invalid_arrays_are_rejected(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        replace(FOUND, **change)


def test_no_detections_are_valid():
    empty = FOUND.above(1.0)
    assert len(empty) == 0 and empty.boxes.shape == (0, 4) and empty.names == []
    assert empty.tracks.dtype == np.int32 and empty.class_names == FOUND.class_names


def test_selection_keeps_tracks_and_names():
    for kept in (FOUND.where(np.array([False, True])), FOUND.where(np.array([1]))):
        assert (kept.scores.tolist(), kept.classes.tolist(), kept.tracks.tolist()) == ([SCORES[1]], [3], [17])
        assert kept.boxes.tolist() == [[4, 5, 6, 7]] and kept.names == ["c"]
    kept = FOUND.above(0.9)
    assert kept.tracks.tolist() == [4] and kept.names == ["a"] and kept.class_names == ("a", "b", "c")
    assert PLAIN.above(0.5).tracks is None and PLAIN.above(0.5).class_names == ()


def test_names_need_class_names():
    assert FOUND.names == ["a", "c"]
    with pytest.raises(ValueError, match="no class names; set class_names"):
        _ = PLAIN.names


def test_supervision_gets_its_own_conventions(monkeypatch):
    """Exclusive edges, class ids from 0, tracks and names; the originals stay unchanged."""
    stub = types.SimpleNamespace(Detections=lambda **given: types.SimpleNamespace(**given))
    monkeypatch.setitem(sys.modules, "supervision", stub)
    given = FOUND.to_supervision()
    assert given.xyxy.dtype == np.float32 and given.xyxy.tolist() == [[0, 1, 3, 4], [4, 5, 7, 8]]
    assert given.confidence is SCORES
    assert given.class_id.tolist() == [0, 2] and given.tracker_id.tolist() == [4, 17]
    assert list(given.data) == ["class_name"] and given.data["class_name"].tolist() == ["a", "c"]
    back = Detections(given.xyxy - np.float32([0, 0, 1, 1]), given.confidence, given.class_id + 1, given.tracker_id)
    for name in ("boxes", "scores", "classes", "tracks"):
        np.testing.assert_array_equal(getattr(back, name), getattr(FOUND, name))
    assert CLASSES.tolist() == [1, 3] and BOXES[0].tolist() == [0, 1, 2, 3]
    plain = PLAIN.to_supervision()
    assert plain.tracker_id is None and plain.data == {}


def test_missing_supervision_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match="pip install supervision"):
        FOUND.to_supervision()


@pytest.mark.parametrize("found", [FOUND, PLAIN, FOUND.above(1.0)])
def test_the_real_supervision_accepts_them(found):
    supervision = pytest.importorskip("supervision", reason="optional")
    given = found.to_supervision()
    assert isinstance(given, supervision.Detections) and len(given) == len(found)
    if found.class_names:
        assert list(given["class_name"]) == found.names and given.tracker_id.tolist() == found.tracks.tolist()
