"""Pictures, films, detection files."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from lib.bbox.detections import Detections
from lib.dataset.classes import ClassList
from lib.errors import InputError
from lib.video.film import Film
from lib.video.pictures import PictureFolder, animate, write_picture
from lib.video.records import CocoResults, Csv, ImageNetFile, JsonLines, Result

CLASSES = ClassList(["n1", "n2"], ["cat", "dog, wet"], [(255, 0, 0), (0, 255, 0)])


def result(index, count=2, size=(48, 64), name=None):
    """A frame of grey 4 * index with `count` boxes."""
    boxes = np.array([[1.125, 2, 30.5, 40], [index, 5, 9, 9]], np.float32)[:count]
    found = Detections(boxes, np.array([0.98771, 0.5], np.float32)[:count], np.array([1, 2], np.int32)[:count])
    image = np.full((*size, 3), 4 * index, np.uint8)
    return Result(index, name or f"{index:06d}.jpg", image, found, lambda image, detections: image)


def tracked_result(index, count=2):
    plain = result(index, count)
    return replace(plain, detections=replace(plain.detections, tracks=np.int32([7, 3])[:count]))


def kept(count):
    return [(index, f"{index:06d}.jpg") for index in range(count)]


def run(sink, indices, kept_frames=(), counts=(2, 0, 1)):
    sink.start(list(kept_frames))
    for index in indices:
        sink.write(result(index, counts[index % len(counts)]))
    sink.close()


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


def test_json_lines_count_whole_frames(tmp_path):
    sink = JsonLines(tmp_path / "d.jsonl", CLASSES)
    assert sink.finished() == 0
    run(sink, range(3))
    assert sink.finished() == 3
    sink.path.write_bytes(sink.path.read_bytes()[:-4])
    assert sink.finished() == 2


def test_pictures_keep_name_size_and_format(tmp_path):
    sink = PictureFolder(tmp_path / "out")
    sink.start([])
    for name, kind in (("a.JPEG", "JPEG"), ("b.png", "PNG"), ("c.bmp", "BMP"), ("d.webp", "WEBP")):
        sink.write(result(9, name=name))
        with Image.open(tmp_path / "out" / name) as picture:
            assert (picture.format, picture.size) == (kind, (64, 48))
    assert sorted(path.name for path in sink.path.iterdir()) == ["a.JPEG", "b.png", "c.bmp", "d.webp"]


def test_picture_of_an_unknown_kind(tmp_path):
    with pytest.raises(InputError, match="cannot write this format"):
        write_picture(tmp_path / "a.xyz", np.zeros((4, 4, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_animation_keeps_the_pace_when_it_is_thinned(tmp_path, suffix):
    paths = [tmp_path / f"{i}.png" for i in range(10)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((30, 40, 3), 20 * i, np.uint8))
    out = tmp_path / f"a.{suffix}"
    animate(paths, out, 10.0, max_frames=5, max_size=20)
    with Image.open(out) as animation:
        assert (animation.n_frames, animation.size) == (5, (20, 15))
        for frame in range(5):
            animation.seek(frame)
            assert abs(animation.convert("RGB").getpixel((9, 9))[0] - 40 * frame) <= 3
            assert animation.info["duration"] == 200
    animate(paths[:1], out, 10.0)
    with Image.open(out) as animation:
        assert animation.size == (40, 30)


def film_frames(path):
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        frames = list(film.decode(video=0))
        times = [float(frame.pts * frame.time_base) for frame in frames]
        return stream, [frame.to_ndarray(format="bgr24") for frame in frames], times


def test_film_is_h264_at_the_rate_and_size(tmp_path):
    sink = Film(tmp_path / "a.mp4", 30000 / 1001)
    run(sink, range(40))
    stream, frames, times = film_frames(sink.path)
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert (stream.width, stream.height, stream.frames) == (64, 48, 40)
    assert np.allclose(times, np.arange(40) * 1001 / 30000, atol=1e-3)
    assert all(abs(int(frame[20, 20, 1]) - 4 * i) <= 3 for i, frame in enumerate(frames))
    content = sink.path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat") and b"moof" not in content
    assert sink.finished() == 40
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_film_of_frames_of_odd_and_changing_sizes(tmp_path):
    sink = Film(tmp_path / "a.mp4", 25)
    sink.start([])
    for size in ((47, 63), (47, 63), (94, 126), (100, 20)):
        sink.write(result(30, size=size))
    sink.close()
    _, frames, _ = film_frames(sink.path)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 4
    assert abs(int(frames[1][47, 63, 1]) - 120) <= 3  # the edge that was added repeats its neighbour
    assert frames[3][10, 60, 1] < 5 and abs(int(frames[3][10, 2, 1]) - 120) <= 6  # narrow picture, black beside


def test_film_of_a_live_clip_keeps_its_pace(tmp_path):
    sink = Film(tmp_path / "a.mp4", 10)
    sink.start([])
    for index, dropped in ((3, 3), (4, 0), (9, 4), (10, 0)):
        sink.write(replace(result(index), dropped=dropped))
    sink.close()
    _, frames, times = film_frames(sink.path)
    assert np.allclose(times, [0, 0.1, 0.6, 0.7], atol=1e-3)
    assert all(abs(int(frame[20, 20, 1]) - 4 * i) <= 3 for i, frame in zip((3, 4, 9, 10), frames))


@pytest.mark.parametrize("done", [1, 13, 40])
def test_film_goes_on_behind_the_frames_kept(tmp_path, done):
    run(Film(tmp_path / "a.mp4", 25), range(40))
    sink = Film(tmp_path / "a.mp4", 25)
    run(sink, range(done, 60), kept(done))
    stream, frames, times = film_frames(sink.path)
    assert stream.frames == 60
    assert np.allclose(np.diff(times), 0.04, atol=1e-3)
    assert all(abs(int(frame[20, 20, 1]) - 4 * i) <= 4 for i, frame in enumerate(frames))


def test_killed_film_plays_and_can_be_gone_on_with(tmp_path):
    sink = Film(tmp_path / "a.mp4", 10)
    sink.start([])
    for index in range(60):
        sink.write(result(index))
    copy = tmp_path / "killed.mp4"
    shutil.copy(sink.path, copy)  # what the disk holds when the process is killed
    copy.write_bytes(copy.read_bytes() + b"\0\0\xff\xffmoof and half a fragment")
    sink.close()
    again = Film(copy, 10)
    done = again.finished()
    assert 10 <= done == len(film_frames(copy)[1]) <= 60
    run(again, range(done, 60), kept(done))
    stream, frames, _ = film_frames(copy)
    assert stream.frames == 60
    assert all(abs(int(frame[20, 20, 1]) - 4 * i) <= 4 for i, frame in enumerate(frames))


def test_film_of_another_size_or_kind(tmp_path):
    with pytest.raises(InputError, match=r"\.mp4"):
        Film(tmp_path / "a.avi", 25)
    run(Film(tmp_path / "a.mp4", 25), range(5))
    sink = Film(tmp_path / "a.mp4", 25)
    sink.start(kept(3))
    with pytest.raises(InputError, match="different size"):
        sink.write(result(3, size=(20, 20)))
    sink.close()
    assert Film(tmp_path / "a.mp4", 25).finished() == 5


FULL_DISK = """
import json, resource, sys
import numpy as np
from lib.bbox.detections import Detections
from lib.dataset.classes import ClassList
from lib.video.film import Film
from lib.video.records import CocoResults, Csv, ImageNetFile, JsonLines, Result

kind, path, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
classes = ClassList(["n1"], ["cat"], [(255, 0, 0)])
sink = {"json": lambda: JsonLines(path, classes), "csv": lambda: Csv(path, classes),
        "imagenet": lambda: ImageNetFile(path), "coco": lambda: CocoResults(path), "film": lambda: Film(path, 10)}
sink = sink[kind]()
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # a file cannot grow beyond, as on a full disk
noise = np.random.default_rng(0)
found = Detections(np.ones((2, 4), np.float32), np.ones(2, np.float32), np.ones(2, np.int32))
sink.start([])
done = 0
try:
    for index in range(5000):
        image = noise.integers(0, 255, (48, 64, 3), np.uint8)
        sink.write(Result(index, str(index), image, found, lambda image, detections: image))
        done += 1
except OSError:
    try:
        sink.close()
    except OSError:
        pass
    print(done)
"""


@pytest.mark.parametrize("kind", ["json", "csv", "imagenet", "coco", "film"])
def test_full_disk_leaves_whole_frames(tmp_path, kind):
    path, limit = tmp_path / f"out.{'mp4' if kind == 'film' else 'txt'}", 200_000 if kind == "film" else 2_000
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, kind, str(path), str(limit)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    done = int(ran.stdout)
    assert done > 3 and path.stat().st_size <= limit
    if kind == "json":
        assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == list(range(done))
    elif kind == "coco":
        assert len(json.loads(path.read_text())) == 2 * done
    elif kind == "film":
        assert 10 <= Film(path, 10).finished() == len(film_frames(path)[1]) <= done
    else:
        lines = path.read_text().splitlines()
        assert len(lines) == 2 * done + (kind == "csv") and path.read_text().endswith("\n")
    assert [left.name for left in tmp_path.iterdir()] == [path.name]
