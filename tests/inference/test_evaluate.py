"""Sharing videos out, and what is checked before the hours of detection."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.bbox.detections import Detections
from lib.dataset.imagenet_vid import video_entries as videos_of
from lib.errors import InputError
from lib.eval.detections import DetectionTable
from lib.inference import evaluate
from lib.inference.evaluate import detect_videos
from lib.inference.parts import Part, distribute
from tests import tiny


def test_the_longest_goes_first_to_whoever_has_least():
    assert distribute([5, 9, 1, 4, 3], 2) == [[1, 4], [0, 3, 2]]
    assert distribute([7], 1) == [[0]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(1, 8))
def test_every_video_once_and_shares_of_like_length(lengths, shares):
    found = distribute(lengths, shares)
    assert sorted(number for share in found for number in share) == list(range(len(lengths)))
    loads = [sum(lengths[number] for number in share) for share in found]
    assert max(loads) - min(loads) <= max(lengths)


class Numbered:
    """Finds one object a frame, whose score encodes frame and mean grey; notes how many frames it was given."""

    seen: list

    def __call__(self, frames):
        for number, frame in enumerate(frames):
            Numbered.seen.append(frame.shape)
            yield Detections(np.float32([[number, 0, 9, 9]]), np.float32([frame.mean() / 256]), np.int32([1]))


def make_numbered(cfg, weights, device):
    Numbered.seen = []
    return Numbered()


def detected(folder, cfg, load, weights, videos, workers=0):
    """The detections of all videos, joined in list order."""
    part = Part(folder, {})
    detect_videos(cfg, load, weights, videos, part, workers=workers)
    return DetectionTable.join([part.read(number) for number in range(len(videos))])


@pytest.fixture
def cfg(minivid, tmp_path):
    values = tiny.nested(dataset={"dataset_path": str(minivid), "NUM_CLASSES": 9})
    return evaluate.EasyDict(tiny.make_config({**values, "output_path": str(tmp_path)}))


def test_frames_get_the_ids_of_the_list(cfg, tmp_path):
    videos = videos_of(cfg.dataset.dataset_path, cfg.dataset.test_image_set)
    found = detected(tmp_path, cfg, make_numbered, None, videos[::-1])
    assert found.frame_ids.tolist() == [*range(7, 13), *range(1, 7)]
    assert found.boxes[:, 0].tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert Numbered.seen == [(64, 96, 3)] * 12


def test_several_workers_find_the_same_and_pass_errors_on(cfg, tmp_path):
    videos = videos_of(cfg.dataset.dataset_path, cfg.dataset.test_image_set)
    alone, together = (
        detected(tmp_path / str(workers), cfg, make_numbered, None, videos, workers) for workers in (1, 2)
    )
    for name in ("frame_ids", "classes", "scores", "boxes"):
        np.testing.assert_array_equal(getattr(together, name), getattr(alone, name))
    with pytest.raises(InputError, match=r"worker [01]: no such weights"):
        detected(tmp_path / "refused", cfg, refuses, None, videos, 2)
    assert not (tmp_path / "refused").exists()


def refuses(cfg, weights, device):
    raise InputError(f"worker {device}: no such weights")


def fails(cfg, weights, device):
    raise AssertionError("the detector was made")


@pytest.mark.parametrize("change, message", [
    ({"test_image_set": "VID_none"}, "VID_none.txt"),
    ({"NUM_CLASSES": 4}, "NUM_CLASSES is 4"),
    ({"motion_iou_path": "nowhere.json"}, "nowhere.json"),
])  # fmt: skip
def test_what_is_wrong_is_told_before_a_detector_is_made(cfg, tmp_path, change, message):
    cfg.dataset.update(change)
    with pytest.raises(InputError, match=message):
        evaluate.evaluate_detector(cfg, fails, tmp_path / "x.params", tmp_path / "results")
    cfg.dataset.update({"test_image_set": "VID_val_videos", "NUM_CLASSES": 9, "motion_iou_path": ""})
    cfg.TEST.MOTION_RANGES = ["slow=0.9"]
    with pytest.raises(InputError, match="slow"):
        evaluate.evaluate_detector(cfg, fails, tmp_path / "x.params", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_annotations_without_tracks_are_enough_where_motion_is_not_asked_for(cfg, minivid, tmp_path):
    root = tmp_path / "dataset"
    shutil.copytree(minivid, root)
    for path in root.glob("Annotations/VID/val/*/*.xml"):
        path.write_text(re.sub("<trackid>.*?</trackid>", "", path.read_text()))
    cfg.dataset.dataset_path = str(root)
    with pytest.raises(InputError, match="trackid"):
        evaluate.truth_of(cfg)
    cfg.dataset.enable_detailed_eval = False
    assert len(evaluate.truth_of(cfg).boxes) > 0
