"""The weights that the repository carries, on the validation clips that it carries, through the real test scripts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from lib.backends.mxnet.functions import Compiled
from lib.backends.mxnet.precision import Int8
from lib.bbox.detections import Detections
from lib.bbox.overlaps import overlaps
from lib.dataset.classes import ClassList
from lib.dataset.imagenet_vid import build_index
from lib.eval.detections import read_detections
from lib.eval.truth import read_image_set, videos_of
from lib.methods import METHODS
from lib.video.tracks import Tracker
from tests.conftest import needs
from tests.tiny import ROOT, run_script

RFCN = METHODS["rfcn"].bundled.cfg
FGFA = METHODS["fgfa_rfcn"].bundled.cfg
VAL = ROOT / "data/minivid_val"


def mean_ap(folder, script, cfg, weights, *settings):
    """mAP over all motion on data/minivid_val."""
    dataset = f"dataset.dataset_path={VAL}"
    run_script(
        script, "--cfg", ROOT / cfg, "--weights", ROOT / weights, "--output", folder, "--set", dataset,
        f"dataset.CLASSES={ROOT / 'model/minivid/classes.txt'}", f"output_path={folder}", *settings,
    )  # fmt: skip
    return json.loads((folder / "results.json").read_text())["map"]["all"]["map"]


@pytest.fixture(scope="module")
def rfcn(tmp_path_factory):
    return mean_ap(
        tmp_path_factory.mktemp("rfcn"), "experiments/rfcn/rfcn_test.py", RFCN, "model/minivid/rfcn-0000.params"
    )


def test_the_bundled_baseline_is_as_good_as_it_was(rfcn):
    assert rfcn > 0.73


@pytest.fixture(scope="module")
def fgfa(tmp_path_factory):
    """Its mAP, and its detections file."""
    folder = tmp_path_factory.mktemp("fgfa")
    found = mean_ap(folder, "experiments/fgfa_rfcn/fgfa_rfcn_test.py", FGFA, "model/minivid/fgfa-0000.params")
    return found, folder / "detections.txt"


def test_bundled_fgfa_is_better_than_the_baseline(rfcn, fgfa):
    assert fgfa[0] > 0.81
    assert fgfa[0] > rfcn + 0.04


def test_bundled_dff_is_nearly_as_good_with_near_key_frames(rfcn, tmp_path):
    script, (cfg, weights) = "experiments/dff_rfcn/dff_rfcn_test.py", METHODS["dff_rfcn"].bundled
    assert mean_ap(tmp_path, script, cfg, weights, "TEST.KEY_FRAME_INTERVAL=5") > rfcn - 0.03


def test_bundled_ranges_make_int8_about_as_good(rfcn, tmp_path):
    needs("mxnet")  # only MXNet has int8
    script, weights = "experiments/rfcn/rfcn_test.py", "model/minivid/rfcn-0000.params"
    int8 = mean_ap(tmp_path, script, RFCN, weights, "TEST.PRECISION=int8")
    assert int8 != rfcn
    assert int8 == pytest.approx(rfcn, abs=0.01)


def test_bundled_ranges_belong_to_their_weights():
    for name in ("fgfa", "dff"):
        found = Int8.load(ROOT / f"model/minivid/{name}-0000.params", Compiled()).ranges
        assert set(found) == {"features", "flow"}


def test_tracks_stay_with_their_objects(fgfa):
    """IDF1 (Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", 2016): twice
    the detections whose track is that of their object, over detections and objects, with one track an object. It is at
    most 0.76 here: objects that are not found count too, and these clips have many that are covered or blurred.
    """
    image_ids, frame_ids = read_image_set(VAL / "ImageSets/VID_val_videos.txt")
    truth = build_index(VAL / "Annotations/VID", image_ids, ClassList.load(VAL / "classes.txt"), progress=False)
    table = read_detections([fgfa[1]])
    videos, video_of = videos_of(image_ids)
    right = boxes = switches = 0
    for video in range(len(videos)):
        tracker, together, last = Tracker(), {}, {}
        for image in np.flatnonzero(video_of == video):
            rows = table.take((table.frame_ids == frame_ids[image]) & (table.scores >= 0.5))
            found = tracker(Detections(rows.boxes.astype(np.float32), rows.scores.astype(np.float32), rows.classes))
            objects = slice(truth.offsets[image], truth.offsets[image + 1])
            boxes += len(found) + objects.stop - objects.start
            hit = overlaps(truth.boxes[objects], found.boxes) >= 0.5
            hit &= truth.classes[objects][:, None] == found.classes
            for row, column in zip(*np.nonzero(hit)):
                pair = int(truth.tracks[objects][row]), int(found.tracks[column])
                together[pair] = together.get(pair, 0) + 1
                switches += last.get(pair[0], pair[1]) != pair[1]
                last[pair[0]] = pair[1]
        objects, tracks = (sorted({pair[side] for pair in together}) for side in (0, 1))
        frames = np.array([[together.get((a, b), 0) for b in tracks] for a in objects])
        right += frames[linear_sum_assignment(frames, maximize=True)].sum() if together else 0
    assert 2 * right / boxes > 0.72
    assert switches < 6


def test_demo_numbers_the_objects_of_a_clip(tmp_path):
    clip = VAL / "Data/VID/val/MiniVID_val_0010"
    outputs = ("--output", tmp_path / "o.mp4", "--json", tmp_path / "o.jsonl")
    run_script("fgfa_rfcn/demo.py", "--track", "--input", clip, *outputs)
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert len(rows) == 24
    tracks = {}
    for found in (found for row in rows for found in row["detections"]):
        tracks.setdefault(found["class"], []).append(found["track"])
    steady = [numbers for numbers in tracks.values() if len(numbers) > 20]
    assert len(steady) >= 2
    assert all(len(set(numbers)) == 1 for numbers in steady), tracks
