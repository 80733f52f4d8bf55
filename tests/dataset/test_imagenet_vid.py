from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.dataset import index as index_module
from lib.dataset.classes import ClassList
from lib.dataset.imagenet_vid import (
    AnnotationIndex,
    build_index,
    train_entries,
    training_boxes,
    training_index,
    video_entries,
)
from lib.errors import InputError

CLASSES = ClassList(["c1", "c2", "c3"], ["star", "fish", "boat"], [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
ARRAYS = ("sizes", "offsets", "boxes", "classes", "tracks", "occluded", "generated")


def xml(objects=(), width=100, height=80):
    """Annotation text; an object is (class, x1, y1, x2, y2, further tags as XML)."""
    lines = [f"<annotation>\n<size>\n<width>{width}</width>\n<height>{height}</height>\n</size>"]
    for name, x1, y1, x2, y2, more in objects:
        box = f"<xmax>{x2}</xmax><xmin>{x1}</xmin><ymax>{y2}</ymax><ymin>{y1}</ymin>"
        lines.append(f"<object>\n<name>{name}</name>{more}\n<bndbox>{box}</bndbox>\n</object>")
    return "\n".join([*lines, "</annotation>\n"])


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def same(one: AnnotationIndex, other: AnnotationIndex) -> bool:
    return one.image_ids == other.image_ids and all(
        np.array_equal(getattr(one, name), getattr(other, name))
        and getattr(one, name).dtype == getattr(other, name).dtype
        for name in ARRAYS
    )


@pytest.fixture
def folder(tmp_path):
    put(tmp_path / "v/000000.xml", xml([("c1", 1, 2, 30, 40, "<trackid>4</trackid><occluded>1</occluded>")]))
    put(tmp_path / "v/000001.xml", xml())
    two = [
        ("c3", -5, 0, 100, 79, "<trackid>0</trackid><generated>1</generated><occluded>0</occluded>"),
        ("c2", 7, 7, 7, 7, ""),
    ]
    put(tmp_path / "v/000002.xml", xml(two, 100, 79))
    return tmp_path


IDS = ["v/000000", "v/000001", "v/000002"]


def test_index_of_three_files_by_hand(folder):
    index = build_index(folder, IDS, CLASSES)
    assert index.image_ids == IDS
    assert index.sizes.tolist() == [[100, 80], [100, 80], [100, 79]]
    assert index.offsets.tolist() == [0, 1, 1, 3]
    assert index.boxes.tolist() == [[1, 2, 30, 40], [-5, 0, 100, 79], [7, 7, 7, 7]]
    assert index.classes.tolist() == [1, 3, 2]
    assert index.tracks.tolist() == [4, 0, -1]
    assert index.occluded.tolist() == [True, False, False]
    assert index.generated.tolist() == [False, True, False]
    kinds = [getattr(index, name).dtype for name in ARRAYS]
    assert kinds == [np.int32, np.int64, np.float32, np.int32, np.int32, bool, bool]


def test_boxes_are_clipped_for_training_but_raw_in_the_index(folder):
    index = build_index(folder, IDS, CLASSES)
    boxes, classes = training_boxes(index, 2)
    assert boxes.tolist() == [[0, 0, 99, 78], [7, 7, 7, 7]]
    assert boxes.dtype == np.float32
    assert classes.tolist() == [3, 2]
    assert [len(part) for part in training_boxes(index, 1)] == [0, 0]


def test_no_images_and_order_of_the_ids(folder):
    assert len(build_index(folder, [], CLASSES)) == 0
    index = build_index(folder, [IDS[2], IDS[0]], CLASSES)
    assert index.classes.tolist() == [3, 2, 1]


def test_processes_give_what_one_process_gives(folder, monkeypatch):
    single = build_index(folder, IDS * 4, CLASSES, workers=1)
    monkeypatch.setattr(index_module, "PARALLEL_FROM", 1)
    monkeypatch.setattr(index_module, "CHUNK", 5)
    assert same(single, build_index(folder, IDS * 4, CLASSES, workers=2, progress=False))
    put(folder / "v/000002.xml", "<annotation>")
    with pytest.raises(InputError, match=r"000002.xml:1: broken XML"):
        build_index(folder, IDS * 4, CLASSES, workers=2, progress=False)


GOOD = "<trackid>0</trackid>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotation>\n<size>", r"000000.xml:2: broken XML"),
        ("", r"000000.xml:1: broken XML"),
        ('<?xml version="1.0" encoding="foo"?><a/>', r"000000.xml:1: broken XML .unknown encoding"),
        ("<annotation></annotation>", r"000000.xml: <width> is None"),
        (xml(width="wide"), r"<width> is 'wide', not an image size"),
        (xml(height=0), r"<height> is '0'"),
        (xml([("c1", 0, 0, 5, 5, GOOD), ("c1", 30, 5, 20, 9, GOOD)]), r"000000.xml:10: inverted box 30 5 20 9"),
        (xml([("c1", 0, 9, 5, 8, GOOD)]), r"inverted box"),
        (xml([("c1", 100, 0, 105, 5, GOOD)]), r"000000.xml:6: box 100 0 105 5 is outside the 100 x 80 image"),
        (xml([("c1", 0, -9, 5, -1, GOOD)]), r"is outside the 100 x 80 image"),
        (xml([("c9", 0, 0, 5, 5, GOOD)]), r"000000.xml:6: unknown class c9"),
        (xml([("C1", 0, 0, 5, 5, GOOD)]), r"000000.xml:6: unknown class C1 \(did you mean c1\?\)"),
        (xml([("c1", 0, 0, 5, 5, "<trackid>1.5</trackid>")]), r"000000.xml:6: <trackid> is '1.5', not a track id"),
        (xml([("c1", 0, 0, 5, 5, "<trackid></trackid>")]), r"<trackid> is ''"),
        (xml([("c1", 0, 0, 5, 5, "<trackid>-1</trackid>")]), r"<trackid> is '-1'"),
        (xml([("c1", 0, 0, 5, 5, "<trackid>4294967296</trackid>")]), r"<trackid> is '4294967296'"),
        (xml([("c1", 0, 0, 5, 5, "<occluded>maybe</occluded>")]), r"<occluded> is 'maybe', not 0 or 1"),
        (xml([("c1", "left", 0, 5, 5, GOOD)]), r"<xmin> is 'left'"),
        (xml([("c1", 0, 0, "nan", 5, GOOD)]), r"<xmax> is 'nan'"),
        (xml().replace("</size>", "</size><object><name>c1</name></object>"), r"object without <bndbox>"),
        (xml([("", 0, 0, 5, 5, GOOD)]), r"object without <name>"),
    ],
)
def test_bad_files_are_named(tmp_path, text, said):
    put(tmp_path / "v/000000.xml", text)
    with pytest.raises(InputError, match=said):
        build_index(tmp_path, IDS[:1], CLASSES)


def test_missing_file_is_named_with_and_without_cache(folder, tmp_path):
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(InputError, match=r"v/000009.xml"):
            build_index(folder, [*IDS, "v/000009"], CLASSES, cache=cache)


def test_unknown_classes_can_be_left_out(folder):
    only = ClassList(["c2"], ["fish"], [(0, 0, 0)])
    index = build_index(folder, IDS, only, unknown="skip")
    assert index.offsets.tolist() == [0, 0, 0, 1]
    assert index.boxes.tolist() == [[7, 7, 7, 7]]
    with pytest.raises(ValueError, match="unknown"):
        build_index(folder, IDS, only, unknown="drop")


def counting(monkeypatch):
    """Counts the files that are parsed."""
    parsed = []
    read = index_module.read_annotation
    monkeypatch.setattr(index_module, "read_annotation", lambda path: parsed.append(path) or read(path))
    return parsed


def test_cache_saves_the_parsing_and_gives_the_same(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = build_index(folder, IDS, CLASSES, cache=cache)
    parsed = counting(monkeypatch)
    assert same(first, build_index(folder, IDS, CLASSES, cache=cache))
    assert parsed == []
    assert len(list(cache.iterdir())) == 1


def test_changed_file_of_the_same_size_and_time_is_parsed_again(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    build_index(folder, IDS, CLASSES, cache=cache)
    path = folder / "v/000000.xml"
    before = path.stat()
    path.write_text(path.read_text().replace("<xmin>1<", "<xmin>2<"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    index = build_index(folder, IDS, CLASSES, cache=cache)
    assert index.boxes[0].tolist() == [2, 2, 30, 40]


def test_other_order_classes_folder_mode_or_parser_never_meet_the_same_cache(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    build_index(folder, IDS, CLASSES, cache=cache)
    parsed = counting(monkeypatch)
    renamed = ClassList(["c2", "c1", "c3"], ["fish", "star", "boat"], [(0, 0, 0)] * 3)
    assert build_index(folder, IDS, renamed, cache=cache).classes.tolist() == [2, 3, 1]
    assert build_index(folder, IDS[::-1], CLASSES, cache=cache).classes.tolist() == [3, 2, 1]
    build_index(folder, IDS, CLASSES, cache=cache, unknown="skip")
    monkeypatch.setattr(index_module, "PARSER_VERSION", -1)
    build_index(folder, IDS, CLASSES, cache=cache)
    assert len(parsed) == 12
    assert len(list(cache.iterdir())) == 5


def test_damaged_cache_is_reported_and_replaced(folder, tmp_path, caplog):
    cache = tmp_path / "cache"
    first = build_index(folder, IDS, CLASSES, cache=cache)
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:200])
    assert same(first, build_index(folder, IDS, CLASSES, cache=cache))
    assert "damaged cache" in caplog.text
    caplog.clear()
    assert same(first, build_index(folder, IDS, CLASSES, cache=cache))
    assert caplog.text == ""


def test_nothing_is_written_into_the_dataset(folder, tmp_path):
    before = sorted(path.name for path in folder.rglob("*"))
    build_index(folder, IDS, CLASSES)
    assert sorted(path.name for path in folder.rglob("*")) == before


boxes = st.tuples(st.integers(-20, 99), st.integers(-20, 79), st.integers(0, 60), st.integers(0, 60))
thing = st.tuples(st.sampled_from(CLASSES.ids), boxes, st.integers(0, 2**31 - 1), st.booleans(), st.booleans())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(thing, max_size=4), max_size=5))
def test_what_is_written_is_read_back(frames):
    with tempfile.TemporaryDirectory() as folder:
        ids, rows = [], []
        for number, things in enumerate(frames):
            ids.append(f"v/{number:06d}")
            objects = []
            for name, (x1, y1, w, h), track, occluded, generated in things:
                x2, y2 = max(x1 + w, 0), max(y1 + h, 0)
                more = (
                    f"<trackid>{track}</trackid><occluded>{occluded:d}</occluded><generated>{generated:d}</generated>"
                )
                objects.append((name, x1, y1, x2, y2, more))
                rows.append(([x1, y1, x2, y2], CLASSES.index(name), track, occluded, generated))
            put(Path(folder) / f"{ids[-1]}.xml", xml(objects))
        index = build_index(folder, ids, CLASSES, workers=1)
    assert np.diff(index.offsets).tolist() == [len(things) for things in frames]
    columns = (index.boxes.tolist(), index.classes, index.tracks, index.occluded, index.generated)
    assert list(zip(*columns)) == rows


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
