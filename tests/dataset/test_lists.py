from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.dataset import lists
from lib.dataset.imagenet_vid import AnnotationIndex
from lib.errors import InputError

# (video, number of frames) of all clips of ImageNet VID, in order, taken from the published lists
CLIPS = Path(__file__).parents[1] / "data" / "imagenet_vid_clips.txt.gz"


def digest(lines):
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def official(split):
    with gzip.open(CLIPS, "rt") as file:
        rows = [line.split() for line in file]
    return [(video, int(count)) for video, count in rows if video.startswith(split)]


def test_train_list_is_the_published_file_byte_for_byte():
    clips = official("train")
    assert len(clips) == 3862
    assert clips == sorted(clips)
    assert digest(lists.train_lines(clips)) == "aff735b33aaa2167b82921e7cb0041023f06514cf89e599f7a510801ec89c8aa"


def test_val_list_is_the_published_file_byte_for_byte():
    clips = official("val")
    assert len(clips) == 555
    assert clips == sorted(clips)
    assert digest(lists.videos_lines(clips)) == "baa62c32fd385c4c52b3fbd87c62ede2e48b18e56fdc6a295e90e5e101225a18"
    frames = lists.frames_lines(clips)
    assert len(frames) == 176126
    assert frames[463:465] == ["val/ILSVRC2015_val_00000000/000463 464", "val/ILSVRC2015_val_00000001/000000 465"]


def test_frames_of_a_clip_by_hand():
    assert lists.sampled_frames(1) == [0]
    assert lists.sampled_frames(15) == list(range(15))
    assert lists.sampled_frames(300)[:3] == [10, 30, 50]
    assert lists.sampled_frames(300)[-1] == 290
    assert lists.sampled_frames(4, 1) == [2]
    assert lists.sampled_frames(16, 4) == [2, 6, 10, 14]
    with pytest.raises(ValueError, match="at least 1"):
        lists.sampled_frames(10, 0)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 6000), st.integers(1, 40))
def test_frames_lie_in_the_clip_and_increase(count, frames):
    taken = lists.sampled_frames(count, frames)
    assert len(taken) == min(count, frames)
    assert all(one < other for one, other in zip(taken, taken[1:]))
    assert taken[0] >= 0
    assert taken[-1] < count


def make_clips(root, clips):
    for video, count in clips.items():
        folder = root / "Data/VID" / video
        folder.mkdir(parents=True)
        for frame in range(count):
            (folder / f"{frame:06d}.JPEG").touch()


def read(path):
    return path.read_text().splitlines()


def test_lists_from_a_folder(tmp_path):
    make_clips(tmp_path, {"train/part_1/b": 5, "train/part_0/c": 1, "val/z": 2, "val/a": 3})
    lists.main(["--root", str(tmp_path), "--frames", "2"])
    sets = tmp_path / "ImageSets"
    assert read(sets / "VID_train_2frames.txt") == [
        "train/part_0/c 1 0 1",
        "train/part_1/b 1 1 5",
        "train/part_1/b 1 3 5",
    ]
    assert read(sets / "VID_val_videos.txt") == ["val/a 1 0 3", "val/z 4 0 2"]
    frames = ["val/a/000000 1", "val/a/000001 2", "val/a/000002 3", "val/z/000000 4", "val/z/000001 5"]
    assert read(sets / "VID_val_frames.txt") == frames
    assert len(list(sets.iterdir())) == 3


def test_a_list_with_another_content_is_not_overwritten(tmp_path, capsys):
    make_clips(tmp_path, {"val/a": 3})
    path = tmp_path / "out/VID_val_frames.txt"
    path.parent.mkdir()
    path.write_text("val/b/000000 1\n")
    arguments = ["--root", str(tmp_path), "--out", str(path.parent)]
    with pytest.raises(SystemExit) as stopped:
        lists.main(arguments)
    assert stopped.value.code == 2
    assert "VID_val_frames.txt: already exists with different content" in capsys.readouterr().err
    assert path.read_text() == "val/b/000000 1\n"
    assert not path.with_name("VID_val_videos.txt").exists(), "half of the lists was written"
    lists.main([*arguments, "--force"])
    assert read(path) == ["val/a/000000 1", "val/a/000001 2", "val/a/000002 3"]
    lists.main(arguments)
    assert not (tmp_path / "ImageSets").exists()


def test_linked_folders_are_followed(tmp_path):
    make_clips(tmp_path / "disk", {"val/a": 2})
    (tmp_path / "X/Data/VID").mkdir(parents=True)
    (tmp_path / "X/Data/VID/val").symlink_to(tmp_path / "disk/Data/VID/val")
    assert lists.find_clips(tmp_path / "X", "val") == [("val/a", 2)]


def test_a_folder_with_the_name_of_an_image_is_an_error(tmp_path):
    make_clips(tmp_path, {"train/a": 2})
    (tmp_path / "Data" / "VID" / "train" / "a" / "000002.JPEG").mkdir()
    with pytest.raises(InputError, match=r"000002\.JPEG: is a folder with the name of an image"):
        lists.find_clips(tmp_path, "train")


def test_a_gap_in_the_frames_is_an_error(tmp_path):
    make_clips(tmp_path, {"val/a": 4})
    (tmp_path / "Data/VID/val/a/000002.JPEG").unlink()
    with pytest.raises(InputError, match=r"val/a: 3 images, but no 000002.JPEG"):
        lists.find_clips(tmp_path, "val")


def test_a_list_of_a_dataset_that_is_not_there(tmp_path):
    for name, advice in {"X": "give the folder", "MiniVID": "run `make data`"}.items():
        with pytest.raises(InputError, match=f"{name}: no such dataset folder; {advice}"):
            lists.read_rows(tmp_path / name / "ImageSets/VID_val_videos.txt", lists.VIDEOS_FORM)


@pytest.mark.parametrize("arguments", [["--root", "none"], ["--root", "."], ["--root", ".", "--det"]])
def test_folders_without_data_end_with_status_2(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        lists.main(arguments)
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def holding(*images):
    """Index of images that hold the given classes."""
    classes = [number for image in images for number in image]
    return AnnotationIndex(
        [str(number) for number in range(len(images))],
        np.ones((len(images), 2), np.int32),
        np.cumsum([0, *map(len, images)]),
        np.zeros((len(classes), 4), np.float32),
        np.array(classes, np.int32),
        np.full(len(classes), -1, np.int32),
        np.zeros(len(classes), bool),
        np.zeros(len(classes), bool),
    )


def test_cap_keeps_the_rare_class_whole():
    index = holding([1], [1], [1, 1], [1, 2], [2], [])
    for seed in range(5):
        chosen = lists.balanced_images(index, 3, 2, seed)
        assert {3, 4} <= set(chosen), "class 2 is the rarer one and fits"
        assert len(chosen) == 3
    assert lists.balanced_images(index, 3, 100) == [0, 1, 2, 3, 4]


def test_seed_decides_the_draw():
    index = holding(*[[1]] * 50)
    assert lists.balanced_images(index, 1, 10, 3) == lists.balanced_images(index, 1, 10, 3)
    assert lists.balanced_images(index, 1, 10, 3) != lists.balanced_images(index, 1, 10, 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(1, 4), max_size=3), max_size=20), st.integers(1, 5), st.integers(0, 9))
def test_no_class_passes_the_cap_and_nothing_more_fits(images, cap, seed):
    chosen = lists.balanced_images(holding(*images), 4, cap, seed)
    counts = {number: sum(number in images[image] for image in chosen) for number in range(1, 5)}
    assert max(counts.values()) <= cap
    assert chosen == sorted(set(chosen))
    for image in set(range(len(images))) - set(chosen):
        assert not images[image] or any(counts[number] == cap for number in images[image])


def test_det_list_from_annotations(tmp_path):
    (tmp_path / "classes.txt").write_text("c1 star\nc2 fish\n")
    for name, classes in {"p/x": ["c1"], "p/y": ["c2", "n9"], "q/z": ["n9"], "q/a": ["c1"]}.items():
        path = tmp_path / f"Annotations/DET/train/{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        box = "<bndbox><xmin>0</xmin><ymin>0</ymin><xmax>1</xmax><ymax>1</ymax></bndbox>"
        objects = "".join(f"<object><name>{one}</name>{box}</object>" for one in classes)
        path.write_text(f"<a><size><width>9</width><height>9</height></size>{objects}</a>")
    arguments = ["--root", str(tmp_path), "--det"]
    lists.main([*arguments, "--out", str(tmp_path / "all")])
    assert read(tmp_path / "all/DET_train_2classes.txt") == ["train/p/x 1", "train/p/y 1", "train/q/a 1"]
    lists.main([*arguments, "--out", str(tmp_path / "one"), "--cap", "1"])
    one = read(tmp_path / "one/DET_train_2classes.txt")
    assert len(one) == 2
    assert "train/p/y 1" in one
