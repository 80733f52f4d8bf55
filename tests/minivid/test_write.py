"""The dataset that is written: its folder, runs that are interrupted or refused, the command line."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.config import load_config
from lib.dataset import imagenet_vid
from lib.dataset.classes import ClassList
from lib.dataset.lists import read_image_ids
from lib.dataset.motion import motion_iou
from lib.errors import InputError
from lib.methods import METHODS
from lib.minivid import __main__ as cli
from lib.minivid import scene, write
from lib.minivid.settings import Settings, check_pool

TINY = Settings(train=2, val=1, frames=18, height=96, width=128)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write.generate(tmp_path_factory.mktemp("data") / "MiniVID", TINY, workers=1, progress=False)


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_layout_is_that_of_imagenet_vid_and_its_readers_read_it(dataset):
    classes = ClassList.load(dataset / "classes.txt")
    assert classes.names == ["airplane", "car", "duck", "fish", "house", "mug", "tree", "umbrella"]
    assert classes.ids[0] == "mv01"
    images = read_image_ids(dataset / "ImageSets" / "VID_val_frames.txt")
    assert images[0] == "val/MiniVID_val_0000/000000" and len(images) == 18
    assert (dataset / "ImageSets" / "VID_val_videos.txt").read_text() == "val/MiniVID_val_0000 1 0 18\n"
    (video,) = imagenet_vid.video_entries(dataset, "VID_val_videos")
    assert video.image_ids == images and all(path.is_file() for path in video.frames)
    assert len(imagenet_vid.train_entries(dataset, "VID_train_15frames")) == 2 * 15
    index = imagenet_vid.build_index(dataset / "Annotations" / "VID", images, classes, progress=False)
    assert (index.sizes == (128, 96)).all()
    assert (index.boxes >= 0).all() and (index.boxes[:, 2] < 128).all() and (index.boxes[:, 3] < 96).all()
    assert (index.boxes[:, :2] <= index.boxes[:, 2:]).all()
    assert len(np.unique(index.tracks)) >= 2
    picture = cv2.imread(str(dataset / "Data" / "VID" / f"{images[0]}.JPEG"))
    assert picture.shape == (96, 128, 3)


def test_annotations_are_the_objects_of_the_scene(dataset):
    clip = scene.scene_of(Settings.load(dataset), "val", 0)
    classes = ClassList.load(dataset / "classes.txt")
    index = imagenet_vid.build_index(
        dataset / "Annotations" / "VID", ["val/MiniVID_val_0000/000005"], classes, progress=False
    )
    objects = clip.objects(5)
    assert index.boxes.tolist() == [list(each.box) for each in objects]
    assert index.classes.tolist() == [each.label for each in objects]
    assert index.tracks.tolist() == [each.track for each in objects]


def test_scene_rendered_again_equals_the_picture_in_the_dataset(dataset):
    picture = (dataset / "Data" / "VID" / "train" / "MiniVID_train_0001" / "000003.JPEG").read_bytes()
    shown = scene.scene_of(Settings.load(dataset), "train", 1).render(3)
    assert cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, write.QUALITY])[1].tobytes() == picture


def test_bytes_do_not_depend_on_the_number_of_workers(dataset, tmp_path):
    other = write.generate(tmp_path / "other", TINY, workers=2, progress=False)
    assert contents(other) == contents(dataset)


def test_complete_dataset_is_not_touched(dataset):
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    write.generate(dataset, TINY, progress=False)
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before


def test_interrupted_run_leaves_no_dataset_and_is_continued(dataset, tmp_path, monkeypatch):
    out, made, real = tmp_path / "MiniVID", [], write._write_clip

    def failing(root, settings, job):
        if len(made) == 1:
            (root / "Data" / "VID" / job[0] / write.clip_name(*job)).mkdir(parents=True)
            raise KeyboardInterrupt
        made.append(job)
        real(root, settings, job)

    monkeypatch.setattr(write, "_write_clip", failing)
    with pytest.raises(KeyboardInterrupt):
        write.generate(out, TINY, workers=1, progress=False)
    assert not out.exists()
    again = []
    monkeypatch.setattr(write, "_write_clip", lambda *args: (again.append(args[2]), real(*args)))
    write.generate(out, TINY, workers=1, progress=False)
    assert made == [("train", 0)] and again == [("train", 1), ("val", 0)]
    assert contents(out) == contents(dataset)
    assert list(tmp_path.iterdir()) == [out]


def test_leftovers_of_other_settings_are_not_mixed_in(dataset, tmp_path):
    leftover = tmp_path / ".MiniVID.partial"
    stale = leftover / "Annotations" / "VID" / "train" / "MiniVID_train_0000"
    stale.mkdir(parents=True)
    Settings(seed=7).write(leftover)
    write.generate(tmp_path / "MiniVID", TINY, workers=1, progress=False)
    assert contents(tmp_path / "MiniVID") == contents(dataset)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda out: Settings(seed=3).write(out), r"seed: 3, not 0"),
        (lambda out: (out / "mine.txt").write_text("x"), r"not a MiniVID dataset"),
        (lambda out: (out / "minivid.json").write_text("[]"), r"not the settings"),
        (lambda out: Settings(width=-1).write(out), r"json: width is -1; it must be a whole number from 64 to"),
        (lambda out: Settings(frames="9").write(out), r"json: frames is '9'; it must be a whole number from 1 to"),
    ],
    ids=["other settings", "other folder", "broken settings", "wrong number", "wrong type"],
)
def test_folder_that_is_not_its_own_is_refused(tmp_path, prepare, message):
    prepare(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=message):
        write.generate(tmp_path, TINY, progress=False)
    assert contents(tmp_path) == before


def test_pools_of_pretraining_are_limited():
    check_pool("FLOW", 8192, 8, 6 * 192 * 256)
    with pytest.raises(InputError, match=r"FLOW\.pool gives 4 examples, fewer than FLOW\.batch 8; increase it"):
        check_pool("FLOW", 4, 8, 1)
    with pytest.raises(
        InputError, match=r"FLOW\.pool of 100000 examples takes 27 GiB of memory, more than 8; reduce it"
    ):
        check_pool("FLOW", 100_000, 8, 6 * 192 * 256)


@pytest.mark.parametrize("method", ["fgfa_rfcn", "dff_rfcn"])
def test_pools_of_the_bundled_settings_are_within_the_limit(method):
    method = METHODS[method]
    flow, size = load_config(method.bundled.cfg, [], method.schema).FLOW, Settings()
    check_pool("FLOW", flow.pool, flow.batch, 6 * size.height * size.width)


def test_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "MiniVID").write_text("x")
    with pytest.raises(InputError, match="choose another --out"):
        write.generate(tmp_path / "MiniVID", TINY, progress=False)


def test_two_runs_at_once_are_refused(tmp_path):
    folder = tmp_path / ".MiniVID.partial"
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(InputError, match="another process"):
            write.generate(tmp_path / "MiniVID", TINY, progress=False)
    finally:
        os.close(handle)


def test_command_line_makes_and_describes(tmp_path, capsys):
    out = tmp_path / "MiniVID"
    cli.main(["--out", str(out), *"--train 1 --val 1 --frames 3 --height 96 --width 96 --workers 1".split()])
    cli.main(["--statistics", str(out)])
    text = capsys.readouterr().out
    assert "train: 1 clips, 3 frames" in text and "val: 1 clips, 3 frames" in text and "umbrella" in text


@pytest.mark.parametrize("argv", [["--train", "-1"], ["--train", "0", "--val", "0"], ["--statistics", "nowhere"]])
def test_bad_options_are_one_line_and_status_2(argv, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_motion_of_the_tiny_dataset_is_measured_by_the_rule_of_imagenet_vid(dataset):
    names = [f"train/MiniVID_train_{clip:04d}/{frame:06d}" for clip in range(2) for frame in range(18)]
    index = imagenet_vid.build_index(
        dataset / "Annotations" / "VID", names, ClassList.load(dataset / "classes.txt"), progress=False
    )
    values = motion_iou(index)
    assert len(values) > 50 and values.min() < 0.9 < values.max() <= 1
