"""ImageNet VID's lists of training images and test videos, and the index of a training list."""

from __future__ import annotations

import pytest

from lib.dataset.imagenet_vid import (
    train_entries,
    training_index,
    video_entries,
)
from lib.errors import InputError
from tests.dataset.annotations import CLASSES, GOOD, put, xml


def lists(root, **texts):
    for name, text in texts.items():
        put(root / "ImageSets" / f"{name}.txt", text)


def test_training_entries_of_both_kinds(tmp_path):
    lists(tmp_path, DET_train_30classes="train/a/img7 1\n", VID_train_15frames="train/v 1 10 300\n\ntrain/w 1 0 1\n")
    det, vid, single = train_entries(tmp_path, "DET_train_30classes+VID_train_15frames")
    assert det.image == det.neighbour(-9) == tmp_path / "Data/DET/train/a/img7.JPEG"
    assert (det.kind, det.video, det.frame, det.num_frames) == ("DET", None, 0, 1)
    assert vid.image_id == "train/v/000010"
    assert (vid.kind, vid.video, vid.frame, vid.num_frames) == ("VID", "train/v", 10, 300)
    assert vid.neighbour(0) == vid.image == tmp_path / "Data/VID/train/v/000010.JPEG"
    assert vid.neighbour(-11).name == "000000.JPEG"
    assert vid.neighbour(400).name == "000299.JPEG"
    assert single.neighbour(9) == single.image


def test_test_videos_in_order(tmp_path):
    lists(tmp_path, VID_val_videos="val/a 1 0 2\nval/b 3 0 1\n")
    first, second = video_entries(tmp_path, "VID_val_videos")
    assert (first.video, first.first_id, first.num_frames) == ("val/a", 1, 2)
    assert first.image_ids == ["val/a/000000", "val/a/000001"]
    assert second.frames == [tmp_path / "Data/VID/val/b/000000.JPEG"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("VID_t", "v 1 10 300\nv 1 10\n", r"VID_t.txt:2: 3 columns instead of 4"),
        ("VID_t", "v 1 10 300 4\n", r"VID_t.txt:1: 5 columns"),
        ("VID_t", "v 1 x 300\n", r"VID_t.txt:1: only the first column"),
        ("VID_t", "v 1 -1 300\n", r"VID_t.txt:1: only the first column"),
        ("VID_t", "v 1 300 300\n", r"VID_t.txt:1: no frame 300 in a clip of 300"),
        ("VID_t", "\n", r"VID_t.txt: the list is empty"),
        ("DET_t", "a 1 2 3\n", r"DET_t.txt:1: 4 columns instead of 2"),
        ("YTB_t", "a 1\n", r"must start with DET_ or VID_"),
    ],
)
def test_bad_training_lists(tmp_path, name, text, said):
    lists(tmp_path, **{name: text})
    with pytest.raises(InputError, match=said):
        train_entries(tmp_path, name)


def test_bad_test_lists(tmp_path):
    lists(tmp_path, VID_val_videos="val/a 1 0 0\n")
    with pytest.raises(InputError, match=r"VID_val_videos.txt:1: a clip of 0 frames"):
        video_entries(tmp_path, "VID_val_videos")
    with pytest.raises(InputError, match="cannot be read"):
        video_entries(tmp_path, "VID_none")


def test_training_index_mixes_both_kinds_in_list_order(tmp_path):
    lists(tmp_path, DET_a="i/x 1\ni/y 1\n", VID_b="train/v 1 1 2\n")
    put(tmp_path / "Annotations/DET/i/x.xml", xml([("c2", 0, 0, 1, 1, ""), ("n999", 0, 0, 2, 2, "")]))
    put(tmp_path / "Annotations/DET/i/y.xml", xml([("n999", 0, 0, 2, 2, "")]))
    put(tmp_path / "Annotations/VID/train/v/000001.xml", xml([("c1", 3, 3, 9, 9, GOOD)]))
    index = training_index(tmp_path, train_entries(tmp_path, "DET_a+VID_b+DET_a"), CLASSES)
    assert index.image_ids == ["i/x", "i/y", "train/v/000001", "i/x", "i/y"]
    assert index.offsets.tolist() == [0, 1, 1, 2, 3, 3]
    assert index.classes.tolist() == [2, 1, 2]
    put(tmp_path / "Annotations/VID/train/v/000001.xml", xml([("n999", 3, 3, 9, 9, GOOD)]))
    with pytest.raises(InputError, match="unknown class n999"):
        training_index(tmp_path, train_entries(tmp_path, "VID_b"), CLASSES)
