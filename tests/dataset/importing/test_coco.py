from __future__ import annotations

import copy
import json
import re

import pytest

from lib.dataset import check, motion
from lib.dataset.classes import ClassList
from lib.dataset.exporting import coco as export_coco
from lib.dataset.imagenet_vid import train_entries, training_index
from lib.dataset.imagenet_vid import video_entries as read_test_videos
from lib.dataset.importing import coco as import_coco
from tests.dataset.importing.imported import HEIGHT, WIDTH, failure, number_of, objects, put_film, put_frames

# Two videos of three and two frames, in an order of entries that is not the order of frames.
CONTENT = {
    "videos": [{"id": 7, "name": "street one"}, {"id": 3, "name": "yard"}],
    "images": [
        {"id": 12, "video_id": 7, "frame_id": 2, "file_name": "a/000002.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 10, "video_id": 7, "frame_id": 0, "file_name": "a/000000.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 11, "video_id": 7, "frame_id": 1, "file_name": "a/000001.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 21, "video_id": 3, "frame_id": 1, "file_name": "b/000001.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 20, "video_id": 3, "frame_id": 0, "file_name": "b/000000.jpg", "width": WIDTH, "height": HEIGHT},
    ],
    "categories": [{"id": 5, "name": "red car"}, {"id": 9, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 10, "category_id": 9, "bbox": [1.5, 2, 10.25, 20], "track_id": 4, "occluded": True},
        {"id": 2, "image_id": 11, "category_id": 9, "bbox": [2.5, 2, 10.25, 20], "track_id": 4, "generated": 1},
        {"id": 3, "image_id": 12, "category_id": 5, "bbox": [0, 0, WIDTH, HEIGHT], "instance_id": 8},
        {"id": 4, "image_id": 20, "category_id": 5, "bbox": [30, 10, 1, 1], "attributes": {"track_id": 0}},
    ],
}  # fmt: skip


@pytest.fixture
def media(tmp_path):
    put_frames(tmp_path / "media" / "a", 3)
    put_frames(tmp_path / "media" / "b", 2)
    return tmp_path / "media"


def write(tmp_path, content, name="in.json"):
    path = tmp_path / name
    path.write_text(json.dumps(content))
    return path


def run(tmp_path, media, content, *options):
    out = tmp_path / "out"
    import_coco.main(
        ["--json", str(write(tmp_path, content)), "--media", str(media), "--out", str(out), *map(str, options)]
    )
    return out


def changed(*path, value):
    """CONTENT with the entry at `path` set to `value`."""
    content = copy.deepcopy(CONTENT)
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return content


def val_file(tmp_path, *names):
    path = tmp_path / "val.txt"
    path.write_text("\n".join(names))
    return path


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
    export_coco.main(["--root", str(out), "--out", str(tmp_path / "back.json")])
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
    assert "no objects to train on: red_car" in caplog.text


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


BAD = {
    "bbox of three": (("annotations", 1, "bbox"), [1, 2, 3], r"in\.json: annotations\[1\]: bbox is \[1, 2, 3\]"),
    "negative": (("annotations", 1, "bbox"), [1, 2, -3, 4], r"annotations\[1\]: box of -3 x 4"),
    "nan": (("annotations", 1, "bbox"), [1, 2, float("nan"), 4], r"broken JSON \(NaN is not a finite number\)"),
    "text": (("annotations", 1, "bbox"), [1, 2, "x", 4], r"annotations\[1\]: a bbox value is 'x'"),
    "image": (("annotations", 3, "image_id"), 99, r"annotations\[3\]: unknown image_id 99"),
    "unhashable": (("annotations", 3, "image_id"), [1], r"annotations\[3\]: unknown image_id \[1\]"),
    "category": (("annotations", 3, "category_id"), 6,
                 r"annotations\[3\] \(id 4\): unknown category_id 6; .* --skip-unknown"),
    "track": (("annotations", 0, "track_id"), [], r"annotations\[0\]: track id is \[\]"),
    "crowd": (("annotations", 0, "iscrowd"), "maybe", r"annotations\[0\]: iscrowd is 'maybe'"),
    "whole video": (("annotations", 0, "bboxes"), [], r"annotations\[0\]: `bboxes` of a whole video"),
    "no object": (("annotations", 0), 7, r"annotations\[0\]: not an object"),
    "video": (("images", 0, "video_id"), 8, r"images\[0\]: no entry in videos has the id 8 \(video_id\)"),
    "frame": (("images", 0, "frame_id"), -1, r"images\[0\]: frame_id is -1; write an integer >= 0"),
    "same frame": (("images", 0, "frame_id"), 1, r"images\[2\]: same frame of street one as .*images\[0\]"),
    "same id": (("images", 1, "id"), 12, r"images\[1\]: id 12 is already used by .*images\[0\]; renumber"),
    "size": (("images", 3, "width"), 65, r"images\[3\]: width, height are \(65, 48\), but the image has 64, 48"),
    "file": (("images", 2, "file_name"), "a/9.jpg", r"a/9\.jpg: cannot be read"),
    "first file": (("images", 1, "file_name"), "a/9.jpg",
                   r"images\[1\]: no image folder or video file named street one in"),
    "no list": (("annotations",), {}, r"in\.json: contains no list `annotations`"),
    "no images": (("images",), [], r"annotations\[0\]: unknown image_id 10"),
    "name": (("categories", 0, "name"), "", r"categories\[0\]: name is ''"),
    "classes alike": (("categories",), [{"id": 5, "name": "a b"}, {"id": 9, "name": "a_b"}],
                      r"classes 'a b' and 'a_b' would both become a_b"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(BAD))
def test_bad_entries_are_reported_with_their_place(tmp_path, media, capsys, case):
    path, value, message = BAD[case]
    file = write(tmp_path, changed(*path, value=value))
    line = failure(import_coco.main, capsys, "--json", file, "--media", media, "--out", tmp_path / "out")
    assert re.search(message, line), line
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.json", "media"]  # nothing is left behind


def test_a_track_twice_in_a_frame(tmp_path, media, capsys):
    content = changed("annotations", 1, "image_id", value=10)
    file = write(tmp_path, content)
    line = failure(import_coco.main, capsys, "--json", file, "--media", media, "--out", tmp_path / "out")
    assert "annotations[1]: track 4 occurs twice in frame 0 of street one (first: " in line
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("text, message", [
    ("[]", "in.json: contains a list"),
    ("{\n\n nonsense", "in.json:3: broken JSON"),
])  # fmt: skip
def test_files_that_are_not_coco(tmp_path, media, capsys, text, message):
    (tmp_path / "in.json").write_text(text)
    assert message in failure(
        import_coco.main, capsys, "--json", tmp_path / "in.json", "--media", media, "--out", tmp_path / "out"
    )


def test_a_folder_that_cannot_be_created(tmp_path, media, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    file = write(tmp_path, CONTENT)
    for out, message in (("file/below", "cannot be created"), ("file", "already exists"), ("link", "already exists")):
        line = failure(import_coco.main, capsys, "--json", file, "--media", media, "--out", tmp_path / out)
        assert f"{tmp_path / out}: {message}" in line


def test_a_full_disk_leaves_nothing_behind(tmp_path, media, capsys, monkeypatch):
    def full(path, text, **_):
        raise OSError(28, "No space left on device", str(path))

    file = write(tmp_path, CONTENT)
    monkeypatch.setattr("lib.dataset.importing.write.Path.write_text", full)
    line = failure(import_coco.main, capsys, "--json", file, "--media", media, "--out", tmp_path / "out")
    assert "No space left on device; " in line and line.endswith("out was not written")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.json", "media"]


def test_nothing_is_overwritten(tmp_path, media, capsys):
    out = run(tmp_path, media, CONTENT)
    before = sorted(out.rglob("*"))
    file = tmp_path / "in.json"
    line = failure(import_coco.main, capsys, "--json", file, "--media", media, "--out", out)
    assert f"{out}: already exists and is not overwritten" in line
    assert sorted(out.rglob("*")) == before
    line = failure(export_coco.main, capsys, "--root", out, "--out", file)
    assert "in.json: already exists" in line


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
    assert "1 videos for training, 1 for testing, with 5 frames, 3 objects, 2 tracks, 1 left out" in caplog.text
