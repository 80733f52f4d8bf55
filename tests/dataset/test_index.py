"""The annotation index: what it holds, its cache, and files that are rejected."""

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
    training_boxes,
)
from lib.errors import InputError
from tests.dataset.annotations import CLASSES, GOOD, put, xml

ARRAYS = ("sizes", "offsets", "boxes", "classes", "tracks", "occluded", "generated")


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
                rows.append(([x1, y1, x2, y2], CLASSES.numbers[name], track, occluded, generated))
            put(Path(folder) / f"{ids[-1]}.xml", xml(objects))
        index = build_index(folder, ids, CLASSES, workers=1)
    assert np.diff(index.offsets).tolist() == [len(things) for things in frames]
    columns = (index.boxes.tolist(), index.classes, index.tracks, index.occluded, index.generated)
    assert list(zip(*columns)) == rows


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text", "an empty archive"])
def test_a_damaged_cache_is_made_again(folder, tmp_path, damage, caplog):
    cache = tmp_path / "cache"
    first = build_index(folder, IDS, CLASSES, cache=cache)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "empty": b"",
            "cut": whole[:middle],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "text": b"nothing",
            "an empty archive": b"PK\x05\x06" + bytes(18),
        }[damage]
    )
    assert same(first, build_index(folder, IDS, CLASSES, cache=cache))
    assert path.read_bytes() == whole and "damaged cache" in caplog.text
    caplog.clear()
    assert same(first, build_index(folder, IDS, CLASSES, cache=cache))
    assert caplog.text == ""
