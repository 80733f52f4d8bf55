from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.dataset.exporting import command
from lib.dataset.exporting.clips import TOLERANCE, ClipTrack, ExportClip, TrackBox, keyframes
from lib.dataset.exporting.formats import cvat, label_studio, yolo
from lib.dataset.importing import coco as import_coco
from lib.dataset.importing import cvat as import_cvat
from lib.dataset.importing import mot as import_mot
from lib.dataset.importing import yolo as import_yolo
from lib.dataset.importing.values import read_names
from lib.errors import InputError
from tests.dataset.importing.imported import HEIGHT, WIDTH, failure, objects, put_film, put_frames

# Two videos; the first has a track with a gap, an occluded and a generated box, and one that ends before the clip does.
CONTENT = {
    "videos": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    "images": [
        {"id": 10 * video + frame, "video_id": video, "frame_id": frame, "file_name": f"{name}/{frame:06d}.jpg"}
        for video, name in ((1, "a"), (2, "b"))
        for frame in range(4)
    ],
    "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"id": number, "image_id": image, "category_id": category, "bbox": box, "track_id": track, **flags}
        for number, (image, category, box, track, flags) in enumerate([
            (10, 2, [1.5, 2, 10.25, 20], 4, {"occluded": 1}),
            (11, 2, [2.5, 2.125, 10.25, 20], 4, {"generated": 1}),
            (13, 2, [7.5, 2, 11.25, 20], 4, {}),
            (10, 1, [30, 10, 20, 10], 7, {}),
            (11, 1, [32, 10, 20, 10], 7, {}),
            (22, 1, [0, 0, WIDTH, HEIGHT], 0, {}),
        ])
    ],
}  # fmt: skip


@pytest.fixture
def dataset(tmp_path):
    for name in ("a", "b"):
        put_frames(tmp_path / "media" / name, 4)
    (tmp_path / "in.json").write_text(json.dumps(CONTENT))
    (tmp_path / "val.txt").write_text("b\n")
    call(import_coco, tmp_path, "data", "--json", tmp_path / "in.json", "--media", tmp_path / "media")
    return tmp_path


def call(importer, tmp_path, out, *options):
    """Imports to tmp_path/out, video b for testing."""
    importer.main([str(each) for each in (*options, "--out", tmp_path / out, "--val-videos", tmp_path / "val.txt")])


def export(root, form, *more):
    command.main(
        [str(each) for each in ("--format", form, "--root", root / "data", "--out", root / f"to_{form}", *more)]
    )
    return root / f"to_{form}"


def same(root, again, part=slice(None)):
    """Whether two datasets have the same objects; part: of (class, box, track, occluded, generated)."""
    return all(
        [[each[part] for each in sorted(frame)] for frame in objects(root / "data", video)]
        == [[each[part] for each in sorted(frame)] for frame in objects(root / again, video)]
        for video in ("train/a", "val/b")
    )


def test_coco_back_and_forth(dataset, capsys):
    out = export(dataset, "coco")
    call(import_coco, dataset, "again", "--json", out, "--media", dataset / "data/Data/VID")
    assert same(dataset, "again")
    options = ("--format", "coco", "--root", dataset / "data", "--out", out)
    assert "already exists" in failure(command.main, capsys, *options)


def test_cvat_back_and_forth(dataset):
    out = export(dataset, "cvat")
    files = sorted(out.rglob("*.xml"))
    assert [path.relative_to(out).as_posix() for path in files] == ["train/a.xml", "val/b.xml"]
    call(import_cvat, dataset, "again", "--xml", *files, "--media", dataset / "media")
    assert same(dataset, "again")


def test_mot_back_and_forth(dataset):
    out = export(dataset, "mot")
    for split in ("train", "val"):  # both splits in one folder of sequences
        for sequence in (out / split).iterdir():
            sequence.rename(out / sequence.name)
    call(import_mot, dataset, "again", "--media", out)
    assert same(dataset, "again", slice(4))  # MOT cannot say that a box was generated


def test_yolo_back_and_forth(dataset):
    out = export(dataset, "yolo", "--tracks")
    assert yaml.safe_load((out / "data.yaml").read_text()) == {
        "path": str(out), "train": "images/train", "val": "images/val", "names": {0: "car", 1: "dog"},
    }  # fmt: skip
    (dataset / "val.txt").write_text("val/b\n")
    options = ("--media", out / "images", "--labels", out / "labels", "--names", out / "classes.txt")
    call(import_yolo, dataset, "again", *options)
    for video, again in (("train/a", "train/train_a"), ("val/b", "val/val_b")):
        for frame, other in zip(objects(dataset / "data", video), objects(dataset / "again", again)):
            assert [(each[0], each[2]) for each in sorted(frame)] == [(each[0], each[2]) for each in sorted(other)]
            boxes = ([each[1] for each in sorted(group)] for group in (frame, other))
            assert all(np.allclose(one, two, atol=0.002) for one, two in zip(*boxes))
    assert (out / "labels/train/a/000002.txt").read_text() == ""


def test_yolo_has_five_columns_unless_asked(dataset):
    lines = (export(dataset, "yolo") / "labels/train/a/000000.txt").read_text().splitlines()
    assert sorted(len(line.split()) for line in lines) == [5, 5]


def test_bad_input(dataset, capsys):
    line = failure(command.main, capsys, "--format", "mot", "--root", dataset / "none", "--out", dataset / "x")
    assert "contains neither Data/VID/train nor Data/VID/val" in line
    (dataset / "full").mkdir()
    line = failure(command.main, capsys, "--format", "mot", "--root", dataset / "data", "--out", dataset / "full")
    assert "already exists" in line


@pytest.mark.parametrize("form", command.FORMATS)
def test_a_broken_annotation_leaves_nothing_behind(dataset, capsys, form):
    (dataset / "data/Annotations/VID/val/b/000001.xml").write_text("<annotation>")
    before = sorted(path.name for path in dataset.iterdir())
    options = ("--format", form, "--root", dataset / "data", "--out", dataset / "out")
    assert "000001.xml:1: broken XML" in failure(command.main, capsys, *options)
    assert sorted(path.name for path in dataset.iterdir()) == before


def test_yolo_names_are_read_back_as_they_are(dataset):
    names = ["[x", "0x10", "yes", "1.5", "#a", "a:", "&b", "'"]
    (dataset / "data/classes.txt").write_text("".join(f"{number}. {name}\n" for number, name in enumerate(names)))
    for path in (dataset / "data/Annotations").rglob("*.xml"):
        path.write_text(path.read_text().replace("<name>car", "<name>0.").replace("<name>dog", "<name>1."))
    out = export(dataset, "yolo")
    assert read_names(out / "data.yaml") == read_names(out / "classes.txt") == names


@pytest.mark.parametrize("name", ["a\x01", "a\udcff", "\ufffe"])
def test_names_that_xml_cannot_hold_are_refused(name):
    for clip in (ExportClip(name, "film", range(1), None, [(9, 9)], ["cup"], []),
                 ExportClip("film", name, range(1), None, [(9, 9)], ["cup"], []),
                 ExportClip("film", "film", range(1), None, [(9, 9)], [name], [])):  # fmt: skip
        with pytest.raises(InputError, match="XML cannot hold this name; rename it"):
            cvat(clip, thinned=False)


def clip_of(*tracks, frames=range(8), images=None):
    """Tracks are (number, {place: left}); boxes are 10 x 20 pixels."""
    made = [
        ClipTrack(1, number, [TrackBox(place, (left, 5.0, left + 10, 25.0)) for place, left in sorted(boxes.items())])
        for number, boxes in tracks
    ]
    return ExportClip("film", "film.mp4", frames, images, [(WIDTH, HEIGHT)] * len(frames), ["cup", "b<&>'\""], made)


@given(st.lists(st.tuples(*[st.floats(-50, 500)] * 4), min_size=1, max_size=40))
@settings(deadline=None)
def test_boxes_left_out_are_within_a_pixel_of_interpolation(edges):
    run = [TrackBox(place, box) for place, box in enumerate(edges)]
    kept = keyframes(run)
    assert kept[0] is run[0] and kept[-1] is run[-1]
    places = [box.place for box in kept]
    for side in range(4):
        between = np.interp(range(len(run)), places, [box.edges[side] for box in kept])
        assert np.abs(between - [box.edges[side] for box in run]).max() <= TOLERANCE


def test_a_steady_track_has_two_keyframes_and_a_turn_has_three():
    steady = clip_of((1, {place: 3.0 * place + 0.4 * (place % 2) for place in range(8)})).tracks[0]
    assert [box.place for box in keyframes(steady.boxes)] == [0, 7]
    turn = clip_of((1, {place: 3.0 * min(place, 8 - place) for place in range(8)})).tracks[0]
    assert [box.place for box in keyframes(turn.boxes)] == [0, 4, 7]


@pytest.mark.parametrize("frames", [range(8), range(4, 20, 2)])
def test_thinned_cvat_read_back_is_within_a_pixel(tmp_path, frames):
    tracks = (3, {0: 2.0, 1: 5.5, 2: 8.0, 4: 20.0, 5: 21.0}), (9, {6: 1.0, 7: 30.0})
    put_film(tmp_path / "film.mp4", 20)
    (tmp_path / "film.xml").write_text(cvat(clip_of(*tracks, frames=frames), thinned=True))
    text = (tmp_path / "film.xml").read_text()
    assert text.count('outside="0"') == 6 and text.count('outside="1"') == 2  # of 7 boxes, 1 is interpolated
    (video,) = import_cvat.read([tmp_path / "film.xml"], tmp_path).videos
    assert video.frames.wanted == tuple(frames)
    found = {(thing.track, place): thing for place, things in video.objects.items() for thing in things}
    expected = {(number, place): left for number, boxes in tracks for place, left in boxes.items()}
    assert found.keys() == expected.keys()
    assert all(abs(found[key].edges[0] - left) <= TOLERANCE for key, left in expected.items())


def test_label_studio_by_hand():
    clip = clip_of((3, {0: 0.0, 1: 3.2, 2: 6.4, 4: 6.4}))
    (task,) = json.loads(label_studio(clip, "film.mp4", 10.0, "fgfa_rfcn"))
    assert task["data"] == {"video": "film.mp4"}
    (prediction,) = task["predictions"]
    (result,) = prediction["result"]
    assert prediction["model_version"] == "fgfa_rfcn" and result["type"] == "videorectangle"
    value = result["value"]
    assert (value["labels"], value["framesCount"], value["duration"]) == (["cup"], 8, 0.8)
    rows = [(each["frame"], each["enabled"], each["x"], each["width"], each["time"]) for each in value["sequence"]]
    assert rows == [(1, True, 0.0, 15.625, 0.1), (3, False, 10.0, 15.625, 0.3), (5, False, 10.0, 15.625, 0.5)]


def test_yolo_files_are_named_like_images_or_numbered():
    assert list(yolo(clip_of(frames=range(4, 8, 2)), False)) == ["film_5.txt", "film_7.txt"]
    assert list(yolo(clip_of(frames=range(2), images=["x.jpg", "y.png"]), False)) == ["x.txt", "y.txt"]
    with pytest.raises(InputError, match="two images named x; rename one"):
        yolo(clip_of(frames=range(2), images=["x.jpg", "x.png"]), False)
