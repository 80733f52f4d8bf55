from __future__ import annotations

import json

import av
import cv2
import numpy as np
import pytest

from lib.bbox.detections import Detections
from lib.cli.demo import run_demo
from lib.dataset.importing import cvat as import_cvat
from lib.dataset.importing import mot as import_mot
from lib.dataset.importing import yolo as import_yolo
from lib.errors import InputError
from lib.methods import METHODS
from tests.cli.demo_runs import moving_box, records, run
from tests.tiny import ROOT

CLIP = ROOT / "data/demo/MiniVID_val_0026"


def film_of(path, images, rate=10):
    """A film of the images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        (stream.height, stream.width), stream.pix_fmt = images[0].shape[:2], "yuv420p"
        stream.bit_rate = 4_000_000
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def film(tmp_path):
    return film_of(tmp_path / "media" / "trip.mp4", [np.full((90, 120, 3), 127, np.uint8)] * 12)


def edges(detections):
    x1, y1, x2, y2 = detections["box"]
    return x1, y1, x2 + 1, y2 + 1


def two_objects(frames):
    """A cat on a curve that is away in frames 4 and 5, and a dog that stands still."""
    for i, _ in enumerate(frames):
        cat = [10 + 3 * i, 20 + 0.3 * i * i, 40 + 3 * i, 50 + 0.3 * i * i]
        boxes = [[80, 5, 99, 30], *([cat] if i not in (4, 5) else [])]
        yield Detections(
            np.array(boxes, np.float32), np.linspace(0.9, 0.7, len(boxes)).astype(np.float32),
            np.array([2, 1][: len(boxes)], np.int32),
        )  # fmt: skip


def test_all_formats_read_back_what_was_detected(film, tmp_path):
    out = tmp_path / "out"
    run("--input", film, "--output", out, "--cvat", tmp_path / "trip.xml", "--yolo", tmp_path / "labels",
        "--mot", tmp_path / "seq/trip/gt/gt.txt", "--label-studio", tmp_path / "trip.json",
        make=lambda: two_objects)  # fmt: skip
    detected = {
        (frame["index"], each["track"]): each
        for frame in records(out / "detections.jsonl")
        for each in frame["detections"]
    }
    assert len(detected) == 22 and {each["track"] for each in detected.values()} == {1, 2}
    film.rename(tmp_path / "seq/trip.mp4")
    media = tmp_path / "seq"
    found = {
        "cvat": import_cvat.read([tmp_path / "trip.xml"], media),
        "mot": import_mot.read(media, ["cat", "dog"]),
        "yolo": import_yolo.read(media, tmp_path / "labels", ["cat", "dog"]),
    }
    assert (tmp_path / "labels/classes.txt").read_text() == "cat\ndog\n"
    for name, tolerance in (("cvat", 1.0), ("mot", 1e-3), ("yolo", 1e-3)):
        (video,) = found[name].videos
        things = {(frame, thing.track): thing for frame, group in video.objects.items() for thing in group}
        assert things.keys() == detected.keys(), name
        for key, thing in things.items():
            assert thing.name == detected[key]["class"], name
            np.testing.assert_allclose(thing.edges, edges(detected[key]), atol=tolerance)
    assert 0 < (tmp_path / "trip.xml").read_text().count('outside="0"') < 12
    (task,) = json.loads((tmp_path / "trip.json").read_text())
    assert task["data"]["video"] == str(media.parent / "media/trip.mp4")
    labels = [result["value"]["labels"] for result in task["predictions"][0]["result"]]
    assert sorted(labels) == [["cat"], ["dog"]]


def test_a_slice_of_a_film_keeps_its_frame_numbers(film, tmp_path):
    run("--input", film, "--output", tmp_path / "out", "--frames", "2:11:3", "--cvat", tmp_path / "trip.xml")
    (video,) = import_cvat.read([tmp_path / "trip.xml"], film.parent).videos
    assert video.frames.wanted == (2, 5, 8) and sorted(video.objects) == [0, 1, 2]


def test_several_clips_have_a_file_each(folder, film, tmp_path):
    run("--input", film, folder, "--output", tmp_path / "out", "--cvat", tmp_path / "to.xml", "--yolo", tmp_path / "y")
    assert sorted(path.name for path in tmp_path.glob("*.xml")) == ["to-clip.xml", "to-trip.xml"]
    assert {path.parent.name for path in (tmp_path / "y").rglob("*_1.txt")} == {"trip"}
    assert (tmp_path / "y/clip/000003.txt").read_text().startswith("0 ")


def test_untracked_labels_have_five_columns(folder, tmp_path):
    run("--input", folder, "--output", tmp_path / "out", "--yolo", tmp_path / "y")
    assert len((tmp_path / "y/clip/000003.txt").read_text().split()) == 5
    with pytest.raises(InputError, match="contains label files, which may be corrected; remove it first"):
        run("--input", folder, "--output", tmp_path / "out", "--yolo", tmp_path / "y")


def test_a_resumed_run_exports_all_frames(folder, tmp_path):
    def broken(frames):
        for i, found in enumerate(moving_box(frames)):
            if i == 7:
                raise InputError("broken")
            yield found

    options = ("--input", folder, "--output", tmp_path / "out", "--cvat", tmp_path / "clip.xml")
    with pytest.raises(InputError):
        run(*options, make=lambda: broken, warmup=0)
    assert not (tmp_path / "clip.xml").exists()  # an unfinished clip is not exported
    run(*options, "--resume", make=lambda: lambda frames: _later(frames, 7), warmup=0)
    (video,) = import_cvat.read([tmp_path / "clip.xml"], folder).videos
    assert sorted(video.objects) == list(range(12)) and {thing.track for (thing,) in video.objects.values()} == {1}


def _later(frames, start):
    for i, _ in enumerate(frames, start):
        yield Detections(np.array([[10 + i, 30, 40 + i, 60]], np.float32), np.float32([0.9]), np.int32([1]))


@pytest.mark.parametrize("options, message", [
    (("--label-studio", "x.json"), "Label Studio needs a video file, but "),
    (("--mot", "x.txt", "--max-size", "64"), "--mot: boxes would be those of shrunken frames"),
    (("--cvat", "x.xml", "--output", "x.mp4"), "x.xml: needs the JSON Lines output; add --json FILE"),
])  # fmt: skip
def test_what_cannot_be_exported_is_reported_before_the_run(folder, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        run("--input", folder, *options, make=None)


def test_a_name_that_xml_cannot_hold_is_reported_before_the_run(folder, tmp_path):
    named = folder.rename(tmp_path / "clip\udcff")
    with pytest.raises(InputError, match="XML cannot hold this name"):
        run("--input", named, "--output", tmp_path / "out", "--cvat", tmp_path / "x.xml", make=None)


@pytest.mark.parametrize("name", METHODS)
def test_each_method_with_its_bundled_weights(name, tmp_path):
    images = [cv2.imread(str(path)) for path in sorted(CLIP.iterdir())[:5]]
    film = film_of(tmp_path / "media/trip.mp4", images)
    monitored = ("--cvat", tmp_path / "trip.xml", "--mot", tmp_path / "trip.txt", "--yolo", tmp_path / "labels",
                 "--label-studio", tmp_path / "trip.json")  # fmt: skip
    bundled = METHODS[name].bundled
    options = ["--input", film, "--output", tmp_path / "out", "--cfg", ROOT / bundled.cfg, "--weights",
               ROOT / bundled.weights, *monitored]  # fmt: skip
    run_demo([str(each) for each in options], METHODS[name])
    count = sum(len(frame["detections"]) for frame in records(tmp_path / "out/detections.jsonl"))
    (video,) = import_cvat.read([tmp_path / "trip.xml"], tmp_path / "media").videos
    assert sum(len(group) for group in video.objects.values()) == count > 0
    assert len((tmp_path / "trip.txt").read_text().splitlines()) == count
    assert sum(len(path.read_text().splitlines()) for path in (tmp_path / "labels/trip").iterdir()) == count
    (task,) = json.loads((tmp_path / "trip.json").read_text())
    assert task["predictions"][0]["model_version"] == name and task["predictions"][0]["result"]
