"""Detection files: JSON lines, CSV, ImageNet, COCO."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from lib.errors import InputError
from lib.video.records import CocoResults, Csv, ImageNetFile, JsonLines
from tests.video.results import CLASSES, kept, result, run


def tracked_result(index, count=2):
    plain = result(index, count)
    return replace(plain, detections=replace(plain.detections, tracks=np.int32([7, 3])[:count]))


def test_json_lines_of_two_frames(tmp_path):
    sink = JsonLines(tmp_path / "new" / "d.jsonl", CLASSES)
    sink.start([])
    sink.write(result(0))
    sink.write(result(1, 0))
    lines = [json.loads(line) for line in sink.path.read_text().splitlines()]  # flushed: read before closing
    assert lines == [
        {
            "frame": "000000.jpg", "index": 0, "width": 64, "height": 48,
            "detections": [
                {"class": "cat", "class_id": 1, "score": 0.9877, "box": [1.12, 2.0, 30.5, 40.0]},
                {"class": "dog, wet", "class_id": 2, "score": 0.5, "box": [0.0, 5.0, 9.0, 9.0]},
            ],
        },
        {"frame": "000001.jpg", "index": 1, "width": 64, "height": 48, "detections": []},
    ]  # fmt: skip
    sink.close()


def test_csv_rows(tmp_path):
    sink = Csv(tmp_path / "d.csv", CLASSES)
    run(sink, [0])
    with open(sink.path, newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["frame", "index", "class", "class_id", "score", "x1", "y1", "x2", "y2"]
    assert rows[2] == ["000000.jpg", "0", "dog, wet", "2", "0.5", "0.0", "5.0", "9.0", "9.0"]


def test_imagenet_lines(tmp_path):
    sink = ImageNetFile(tmp_path / "d.txt")
    run(sink, [0])
    assert sink.path.read_text() == "1 1 0.9877 1.12 2.00 30.50 40.00\n1 2 0.5000 0.00 5.00 9.00 9.00\n"


def test_coco_results_are_json_after_every_frame(tmp_path):
    sink = CocoResults(tmp_path / "d.json")
    sink.start([])
    assert json.loads(sink.path.read_text()) == []
    for index, count, total in ((0, 0, 0), (1, 2, 2), (2, 0, 2), (3, 1, 3)):
        sink.write(result(index, count))
        assert len(json.loads(sink.path.read_text())) == total
    first = json.loads(sink.path.read_text())[0]
    assert first == {"image_id": 2, "category_id": 1, "bbox": [1.12, 2.0, 30.38, 39.0], "score": 0.9877}
    sink.close()


def test_tracks_are_written_if_known(tmp_path):
    lines, table = JsonLines(tmp_path / "l", CLASSES), Csv(tmp_path / "c", CLASSES, tracks=True)
    coco = CocoResults(tmp_path / "o")
    for sink in (lines, table, coco):
        sink.start([])
        for index, count in enumerate((2, 0, 1)):
            sink.write(tracked_result(index, count))
        sink.close()
    first = json.loads(lines.path.read_text().splitlines()[0])["detections"][0]
    assert first == {"class": "cat", "class_id": 1, "score": 0.9877, "box": [1.12, 2.0, 30.5, 40.0], "track": 7}
    with open(table.path, newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][-1] == "track" and [row[-1] for row in rows[1:]] == ["7", "3", "7"]
    assert [row["track_id"] for row in json.loads(coco.path.read_text())] == [7, 3, 7]
    back = list(lines.tracked())
    assert [each.tracks.tolist() for each in back] == [[7, 3], [], [7]]
    assert back[0].classes.tolist() == [1, 2] and back[0].names == CLASSES.names
    assert np.allclose(back[0].boxes[0], [1.12, 2, 30.5, 40])


def test_files_with_and_without_tracks_are_not_mixed(tmp_path):
    for tracks in (False, True):
        run(Csv(tmp_path / "d.csv", CLASSES, tracks), range(3))
        before = (tmp_path / "d.csv").read_bytes()
        with pytest.raises(InputError, match="different columns"):
            Csv(tmp_path / "d.csv", CLASSES, not tracks).start(kept(2))
        assert (tmp_path / "d.csv").read_bytes() == before
    run(JsonLines(tmp_path / "d.jsonl", CLASSES), range(3))
    with pytest.raises(InputError, match="without --track"):
        list(JsonLines(tmp_path / "d.jsonl", CLASSES).tracked())


SINKS = [lambda p: JsonLines(p, CLASSES), lambda p: Csv(p, CLASSES), ImageNetFile, CocoResults]


@pytest.mark.parametrize("make", SINKS)
@pytest.mark.parametrize("done", [0, 1, 2, 5])
def test_resumed_file_equals_one_of_a_single_run(tmp_path, make, done):
    whole, parts = make(tmp_path / "whole"), make(tmp_path / "parts")
    run(whole, range(7))
    run(parts, range(6))  # more was written than the other sinks finished
    run(make(parts.path), range(done, 7), kept(done))
    assert parts.path.read_bytes() == whole.path.read_bytes()


@pytest.mark.parametrize("make", SINKS)
def test_half_a_row_at_the_end_is_dropped(tmp_path, make):
    whole, parts = make(tmp_path / "whole"), make(tmp_path / "parts")
    run(whole, range(7))
    run(parts, range(4))
    parts.path.write_bytes(parts.path.read_bytes()[:-6])
    run(make(parts.path), range(3, 7), kept(3))
    assert parts.path.read_bytes() == whole.path.read_bytes()


@pytest.mark.parametrize("make, old, new", [
    (0, '"index": 1', '"index": 5'),  # would lose frames
    (0, '"index": 1', '"index": 0'),
    (0, '"index": 0', '"index": NaN'),
    (0, '"index": 0', '"index": true'),
    (0, "000001.jpg", "other.jpg"),
    (0, '"class": "cat"', '"class": "zebra"'),
    (0, '"class_id": 2', '"class_id": 3'),
    (0, "[1.12, 2.0", "[NaN, 2.0"),
    (0, "[1.12, 2.0", "[-1e300, 2.0"),
    (0, "[1.12, 2.0", "[90, 2.0"),
    (0, "[1.12, 2.0", "[2.0"),
    (0, '"score": 0.5', '"score": -5'),
    (0, '"score": 0.5', '"score": "0.5"'),
    (0, '"score": 0.5', '"score": 0.5, "track": 1'),  # only one of the two
    (0, '"width": 64', '"width": -1'),
    (0, ', "width": 64, "height": 48', ""),
    (1, "000000.jpg,0,cat,1,0.9877,1.12,2.0,30.5,40.0", "000000.jpg,0"),
    (1, "0.9877,1.12", "0.9877,nan"),
    (1, "000000.jpg,0,cat", "000000.jpg,9,cat"),
    (1, "000000.jpg,0,cat", "other.jpg,0,cat"),
    (2, "1 1 0.9877", "1 0 0.9877"),
    (2, "1 1 0.9877", "-3 1 0.9877"),
    (3, '"image_id": 1,', '"image_id": 9,'),
    (3, '"category_id": 1', '"category_id": "x"'),
    (3, "[1.12, 2.0", "[NaN, 2.0"),
])  # fmt: skip
def test_a_row_that_this_run_would_not_have_written_is_refused(tmp_path, make, old, new):
    sink = SINKS[make](tmp_path / "d")
    run(sink, range(3), counts=(2, 1))
    before = sink.path.read_text()
    assert old in before
    sink.path.write_text(before.replace(old, new, 1))
    for refuse in (sink.check, sink.start):
        with pytest.raises(InputError, match=r"d: row \d.*; run without --resume"):
            refuse(kept(2))
    assert sink.path.read_text() == before.replace(old, new, 1)


@pytest.mark.parametrize("track", [0, -1, 1.9, 3, 2**31 - 1])
def test_tracks_are_small_numbers_and_occur_once_in_a_frame(tmp_path, track):
    sink = JsonLines(tmp_path / "d.jsonl", CLASSES)
    sink.start([])
    sink.write(tracked_result(0))
    sink.close()
    sink.path.write_text(sink.path.read_text().replace('"track": 7', f'"track": {track}'))
    for refuse in (lambda: sink.check(kept(1)), lambda: list(sink.tracked())):
        with pytest.raises(InputError, match="damaged"):
            refuse()


@pytest.mark.parametrize("make", SINKS[1:])
def test_a_missing_file_is_not_continued(tmp_path, make):
    with pytest.raises(InputError, match="d: does not exist, so it cannot be continued; run without --resume"):
        make(tmp_path / "d").start(kept(1))


def test_frames_whose_names_contain_line_breaks_are_continued(tmp_path):
    names = ["a\nb", "a\rb", "a\u2028b", 'a"\x85,']
    for make in SINKS[:2]:
        sink = make(tmp_path / "d")
        for first in (0, 2):
            sink.start(list(enumerate(names[:first])))
            for index in range(first, 4):
                sink.write(result(index, name=names[index]))
            sink.close()
        sink.check(list(enumerate(names)))
    with open(sink.path, newline="") as file:
        assert [row[0] for row in csv.reader(file)][1::2] == names


def test_json_lines_count_whole_frames(tmp_path):
    sink = JsonLines(tmp_path / "d.jsonl", CLASSES)
    assert sink.finished() == 0
    run(sink, range(3))
    assert sink.finished() == 3
    sink.path.write_bytes(sink.path.read_bytes()[:-4])
    assert sink.finished() == 2
