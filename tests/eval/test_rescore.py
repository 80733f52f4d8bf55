from __future__ import annotations

import numpy as np
import pytest

from lib.errors import InputError
from lib.eval import rescore as module
from lib.eval.detections import DetectionTable, read_detections, write_detections
from lib.eval.rescore import main, rescore
from lib.nms.seq_nms import seq_nms
from tests.eval.reference import table_of

BOX, FAR = (0, 0, 99, 99), (300, 0, 399, 99)
IMAGES = ["val/a/000000", "val/a/000001", "val/a/000002", "val/b/000000", "val/b/000001"]
IDS = np.array([11, 12, 13, 5, 4])


def rescored(entries, **options):
    return rescore(table_of(entries), IMAGES, IDS, progress=False, **options)


def listed(table):
    scores = np.round(table.scores, 6).tolist()
    return list(zip(table.frame_ids.tolist(), table.classes.tolist(), scores))


def test_a_path_stays_within_its_video_and_class():
    entries = [(11, 1, 0.9, BOX), (12, 1, 0.3, BOX), (12, 2, 0.8, BOX), (13, 1, 0.6, BOX), (5, 1, 0.1, BOX)]
    assert listed(rescored(entries)) == [(11, 1, 0.6), (12, 1, 0.6), (12, 2, 0.8), (13, 1, 0.6), (5, 1, 0.1)]


def test_an_empty_frame_breaks_the_path():
    assert listed(rescored([(11, 1, 0.9, BOX), (13, 1, 0.3, BOX)])) == [(11, 1, 0.9), (13, 1, 0.3)]


def test_the_result_follows_the_image_set_and_omits_other_frames():
    entries = [(4, 1, 0.4, BOX), (99, 1, 0.9, BOX), (5, 2, 0.2, FAR), (5, 1, 0.2, BOX), (11, 1, 0.5, BOX)]
    assert listed(rescored(entries)) == [(11, 1, 0.5), (5, 1, 0.3), (5, 2, 0.2), (4, 1, 0.3)]
    assert len(rescored([])) == 0
    assert len(rescore(table_of([(4, 1, 0.4, BOX)]), [], np.empty(0, np.int64), progress=False)) == 0


def test_the_final_nms_is_optional():
    twins = [(11, 1, 0.5, BOX), (11, 1, 0.4, BOX)]
    assert listed(rescored(twins)) == [(11, 1, 0.5)]
    assert len(rescored(twins, nms_iou=None)) == 2


def many(seed=0):
    rng = np.random.default_rng(seed)
    count = 600
    corner = np.tile(rng.uniform(0, 300, (6, 2)), (count // 6, 1)) + rng.normal(0, 3, (count, 2))
    return DetectionTable(
        rng.choice(IDS, count),
        rng.integers(1, 4, count).astype(np.int32),
        rng.random(count),
        np.concatenate([corner, corner + 80], axis=1),
    )


def test_equal_to_seq_nms_of_each_video():
    table = many()
    result = rescore(table, IMAGES, IDS, progress=False)
    for ids in (IDS[:3], IDS[3:]):
        dets = []
        for cls in (1, 2, 3):
            picked = [(table.frame_ids == i) & (table.classes == cls) for i in ids]
            dets.append([np.c_[table.boxes[rows], table.scores[rows]] for rows in picked])
        for cls, frames in enumerate(seq_nms(dets, nms_iou=0.3), 1):
            for i, frame in zip(ids, frames):
                rows = (result.frame_ids == i) & (result.classes == cls)
                np.testing.assert_array_equal(np.c_[result.boxes[rows], result.scores[rows]], frame)


def test_processes_give_the_same_result(monkeypatch):
    single = rescore(many(), IMAGES, IDS, workers=1, progress=False)
    monkeypatch.setattr(module, "PARALLEL_FROM", 0)
    parallel = rescore(many(), IMAGES, IDS, workers=2, progress=False)
    for name in ("frame_ids", "classes", "scores", "boxes"):
        np.testing.assert_array_equal(getattr(single, name), getattr(parallel, name))


def test_an_inverted_box_and_scattered_frames_are_reported():
    with pytest.raises(InputError, match=r"Seq-NMS of val/b: dets\[0\]\[1\] row 0: an inverted box"):
        rescored([(5, 1, 0.5, BOX), (4, 1, 0.5, (50, 50, 10, 10))])
    with pytest.raises(InputError, match="the frames of val/a are not consecutive in the image set"):
        rescore(table_of([]), ["val/a/000000", "val/b/000000", "val/a/000001"], np.arange(3), progress=False)


def test_command(tmp_path):
    (tmp_path / "set.txt").write_text("val/a 1 0 3\n")
    write_detections(tmp_path / "in.txt", table_of([(1, 1, 0.9, BOX), (2, 1, 0.3, BOX), (3, 1, 0.6, BOX)]))
    paths = ["--image-set", tmp_path / "set.txt", "--out", tmp_path / "out.txt"]
    main([str(word) for word in ("--detections", tmp_path / "in.txt", *paths)])
    assert listed(read_detections([tmp_path / "out.txt"])) == [(1, 1, 0.6), (2, 1, 0.6), (3, 1, 0.6)]
