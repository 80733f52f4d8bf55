from __future__ import annotations

import copy
import json

import pytest

from lib.dataset import check, motion
from lib.dataset.classes import ClassList
from lib.dataset.exporting import command
from lib.dataset.imagenet_vid import train_entries, training_index
from lib.dataset.imagenet_vid import video_entries as read_test_videos
from lib.dataset.importing import coco as import_coco
from tests.dataset.importing.coco_files import CONTENT, changed, run, val_file, write
from tests.dataset.importing.imported import HEIGHT, WIDTH, failure, number_of, objects, put_film, put_frames


def test_boxes_tracks_and_flags_by_hand(tmp_path, media, capsys):
    out = run(tmp_path, media, CONTENT, "--val-videos", val_file(tmp_path, "yard"))
    # x, y, w, h of continuous pixels is x, y, x + w - 1, y + h - 1 of inclusive ones
    assert objects(out, "train/street_one") == [
        [("dog", (1.5, 2, 10.75, 21), 4, True, False)],
        [("dog", (2.5, 2, 11.75, 21), 4, False, True)],
        [("red_car", (0, 0, WIDTH - 1, HEIGHT - 1), 8, False, False)],
    ]
    assert objects(out, "val/yard") == [[("red_car", (30, 10, 30, 10), 0, False, False)], []]
    assert [number_of(out / f"Data/VID/train/street_one/{frame:06d}.JPEG") for frame in range(3)] == [0, 1, 2]
    assert "0 faults" in capsys.readouterr().out


def test_the_dataset_is_one_that_training_and_testing_read(tmp_path, media):
    out = run(tmp_path, media, CONTENT, "--val-videos", val_file(tmp_path, "yard"))
    classes = ClassList.of_dataset(out)
    assert classes.names == ["red_car", "dog"]
    entries = train_entries(out, "VID_train_15frames")
    assert [entry.image_id for entry in entries] == [f"train/street_one/{frame:06d}" for frame in range(3)]
    assert training_index(out, entries, classes).classes.tolist() == [2, 2, 1]
    (video,) = read_test_videos(out, "VID_val_videos")
    assert video.video == "val/yard" and video.num_frames == 2
    frames = motion.load(out / "motion.json", video.image_ids)
    assert [values.tolist() for values in frames] == [[1.0], []]  # an object in no other frame has 1
    check.main(["--root", str(out)])


def test_round_trip_gives_the_same_json(tmp_path, media):
    out = run(tmp_path, media, CONTENT, "--val-videos", val_file(tmp_path, "yard"))
    command.main(["--format", "coco", "--root", str(out), "--out", str(tmp_path / "back.json")])
    back = json.loads((tmp_path / "back.json").read_text())
    assert facts(back) == facts(CONTENT, rename=lambda name: name.replace(" ", "_"))
    again = tmp_path / "again"
    import_coco.main([
        "--json", str(tmp_path / "back.json"), "--media", str(out / "Data/VID"), "--out", str(again),
        "--val-videos", str(val_file(tmp_path, "yard")),
    ])  # fmt: skip
    for path in sorted((out / "Annotations").rglob("*.xml")):
        assert path.read_text() == (again / path.relative_to(out)).read_text()
    for name in ("classes.txt", "motion.json", "ImageSets/VID_train_15frames.txt", "ImageSets/VID_val_frames.txt"):
        assert (out / name).read_text() == (again / name).read_text()


def facts(content, rename=str):
    """What a COCO file says, without the ids of its entries: frames with sizes, and objects."""
    videos = {each["id"]: rename(each["name"]) for each in content["videos"]}
    images = {each["id"]: (videos[each["video_id"]], each["frame_id"]) for each in content["images"]}
    names = {each["id"]: rename(each["name"]) for each in content["categories"]}
    found = set()
    for each in content["annotations"]:
        track = each.get("track_id", each.get("instance_id", each.get("attributes", {}).get("track_id")))
        box = tuple(round(value, 3) for value in each["bbox"])
        flags = bool(each.get("occluded")), bool(each.get("generated"))
        found.add((images[each["image_id"]], names[each["category_id"]], box, track, flags))
    return {(*images[each["id"]], each["width"], each["height"]) for each in content["images"]}, found


def test_boxes_are_clipped_and_empty_ones_counted(tmp_path, media, caplog):
    content = changed("annotations", value=[
        {"id": 1, "image_id": 10, "category_id": 9, "bbox": [-5, -5, 20, 100], "track_id": 1},
        {"id": 2, "image_id": 10, "category_id": 9, "bbox": [WIDTH, 0, 5, 5], "track_id": 2},
        {"id": 3, "image_id": 10, "category_id": 9, "bbox": [3, 3, 0.5, 5], "track_id": 3},
        {"id": 4, "image_id": 10, "category_id": 9, "bbox": [3, 3, 9, 9], "track_id": 4, "iscrowd": 1},
    ])  # fmt: skip
    with caplog.at_level("INFO"):
        out = run(tmp_path, media, content, "--val-videos", val_file(tmp_path, "yard"))
    assert objects(out, "train/street_one")[0] == [("dog", (0, 0, 14, HEIGHT - 1), 1, False, False)]
    assert "left out: 2 objects outside the image, or less than one pixel" in caplog.text
    assert "left out: 1 objects marked as crowds" in caplog.text
    assert "no objects to train on: red_car" in caplog.text and "no objects to test on: red_car, dog" in caplog.text


def test_objects_without_tracks_are_linked_by_overlap(tmp_path, media):
    content = copy.deepcopy(CONTENT)
    boxes = {10: [[0, 0, 20, 20], [30, 0, 20, 20]], 11: [[32, 0, 20, 20], [2, 0, 20, 20]], 12: [[32, 20, 20, 20]]}
    content["annotations"] = [
        {"id": image * 10 + place, "image_id": image, "category_id": 9, "bbox": box}
        for image, group in boxes.items()
        for place, box in enumerate(group)
    ]
    out = run(tmp_path, media, content, "--val-videos", val_file(tmp_path, "yard"))
    tracks = [[each[2] for each in frame] for frame in objects(out, "train/street_one")]
    assert tracks == [[0, 1], [1, 0], [2]]


def test_tracks_of_text_are_numbered(tmp_path, media):
    content = copy.deepcopy(CONTENT)
    for index, track in enumerate(["b", "b", "a"]):
        content["annotations"][index].pop("instance_id", None)
        content["annotations"][index]["track_id"] = track
    out = run(tmp_path, media, content, "--val-videos", val_file(tmp_path, "yard"))
    assert [[each[2] for each in frame] for frame in objects(out, "train/street_one")] == [[0], [0], [1]]


def test_videos_by_folders_and_natural_order(tmp_path):
    put_frames(tmp_path / "media" / "x", 11, "f{}.jpg")
    put_frames(tmp_path / "media" / "y", 1, "f{}.jpg")
    names = ["x/f10.jpg", "x/f2.jpg", *(f"x/f{n}.jpg" for n in (0, 1, 3, 4, 5, 6, 7, 8, 9)), "y/f0.jpg"]
    content = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 5, 5]}],
    }
    out = run(tmp_path, tmp_path / "media", content, "--val-videos", val_file(tmp_path, "y"))
    assert [number_of(out / f"Data/VID/train/x/{frame:06d}.JPEG") for frame in range(11)] == list(range(11))
    assert [len(frame) for frame in objects(out, "train/x")] == [0] * 10 + [1]


def test_a_film_and_its_frames_by_number(tmp_path):
    put_film(tmp_path / "media" / "street one.mp4", 6)
    put_film(tmp_path / "media" / "yard.MP4", 2)
    content = copy.deepcopy(CONTENT)
    for image in content["images"]:
        image["file_name"] = "unused"
    content["images"][0]["frame_id"] = 5
    out = run(tmp_path, tmp_path / "media", content, "--val-videos", val_file(tmp_path, "yard"))
    assert [number_of(out / f"Data/VID/train/street_one/{frame:06d}.JPEG") for frame in range(3)] == [0, 1, 5]
    assert objects(out, "train/street_one")[2][0][0] == "red_car"


def test_a_file_for_each_split(tmp_path, media):
    train, val = copy.deepcopy(CONTENT), copy.deepcopy(CONTENT)
    train["images"], val["images"] = CONTENT["images"][:3], CONTENT["images"][3:]
    train["annotations"], val["annotations"] = CONTENT["annotations"][:3], CONTENT["annotations"][3:]
    paths = [str(write(tmp_path, part, f"{name}.json")) for name, part in (("t", train), ("v", val))]
    import_coco.main(["--json", paths[0], "--val-json", paths[1], "--media", str(media), "--out", str(tmp_path / "o")])
    assert (tmp_path / "o/Data/VID/val/yard").is_dir() and (tmp_path / "o/Data/VID/train/street_one").is_dir()


def test_a_class_list_chooses_and_orders(tmp_path, media, caplog):
    (tmp_path / "own.txt").write_text("d01 dog #ff0000\n")
    with caplog.at_level("INFO"):
        out = run(
            tmp_path, media, CONTENT, "--classes", tmp_path / "own.txt", "--val-videos", val_file(tmp_path, "yard")
        )
    assert (out / "classes.txt").read_text() == "d01 dog #ff0000\n"
    assert [len(frame) for frame in objects(out, "train/street_one")] == [1, 1, 0]
    assert "left out: 2 objects of classes that are not in the class list" in caplog.text


def cvat_export(*frames, names="frame_{:06d}.PNG"):
    """What CVAT writes as COCO for a film, with a box in each frame."""
    return {
        "images": [{"id": k + 1, "width": WIDTH, "height": HEIGHT, "file_name": names.format(frame)}
                   for k, frame in enumerate(frames)],
        "categories": [{"id": 1, "name": "car", "supercategory": ""}],
        "annotations": [
            {"id": k + 1, "image_id": k + 1, "category_id": 1, "bbox": [frame, 0, 9, 9], "iscrowd": 0,
             "attributes": {"occluded": k == 0, "rotation": 0.0, "track_id": 3, "keyframe": k == 0}}
            for k, frame in enumerate(frames)
        ],
    }  # fmt: skip


@pytest.mark.parametrize("first, media", [(0, "trip"), (1, "trip"), (0, ""), (None, ""), (None, "trip.mp4")])
def test_cvat_export_of_a_film_finds_its_frames_by_number(tmp_path, first, media):
    if first is None:
        put_film(tmp_path / "media/trip.mp4", 6)
    else:
        put_frames(tmp_path / "media" / media, 6, "{:05d}.jpg", first)
    where = tmp_path / "media" if media in ("", "trip") else tmp_path / "media" / media
    out = run(tmp_path, where, cvat_export(0, 2, 5), "--video", "trip", "--val-share", "0")
    assert [number_of(out / f"Data/VID/train/trip/{frame:06d}.JPEG") for frame in range(3)] == [0, 2, 5]
    flags = [(each[1][0], *each[2:]) for (each,) in objects(out, "train/trip")]
    assert flags == [(0, 3, True, False), (2, 3, False, True), (5, 3, False, True)]


def test_images_by_number_are_those_or_an_error(tmp_path, capsys):
    put_frames(tmp_path / "media/trip", 3, "{:05d}.jpg", 4)
    out = run(tmp_path, tmp_path / "media", cvat_export(5, 6), "--video", "trip", "--val-share", "0")
    assert [number_of(out / f"Data/VID/train/trip/{frame:06d}.JPEG") for frame in range(2)] == [1, 2]
    options = ("--media", tmp_path / "media", "--video", "trip", "--out", tmp_path / "b")
    for content, message in (
        (cvat_export(6, 7), "frame 7, but"),
        (cvat_export(6, names="x{}y"), "'x6y' is no file and ends in no frame number"),
    ):
        assert message in failure(import_coco.main, capsys, "--json", write(tmp_path, content), *options)


def test_objects_of_unknown_categories_are_left_out_on_request(tmp_path, media, caplog):
    content = changed("annotations", 3, "category_id", value=6)
    with caplog.at_level("INFO"):
        run(tmp_path, media, content, "--skip-unknown", "--val-videos", val_file(tmp_path, "yard"))
    assert "left out: 1 objects of categories that the file does not list" in caplog.text
    assert "1 video for training, 1 for testing, with 5 frames, 3 objects, 2 tracks, 1 left out" in caplog.text
