from __future__ import annotations

import fcntl
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st

from lib.dataset import imagenet_vid
from lib.dataset.classes import ClassList
from lib.dataset.lists import read_image_ids
from lib.dataset.motion import motion_iou
from lib.errors import InputError
from lib.minivid import __main__ as cli
from lib.minivid import crops, degrade, flow, layers, motion, scene, sprites, write
from lib.minivid.settings import Settings

TINY = Settings(train=2, val=1, frames=18, height=96, width=128)
DEFAULT = Settings()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write.generate(tmp_path_factory.mktemp("data") / "MiniVID", TINY, workers=1, progress=False)


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# --- the folder


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


def test_another_seed_gives_other_pictures():
    first, second = (scene.scene_of(Settings(seed=seed), "val", 0).render(0) for seed in (0, 1))
    assert np.abs(first.astype(int) - second).mean() > 10


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
    ],
    ids=["other settings", "other folder", "broken settings"],
)
def test_folder_that_is_not_its_own_is_refused(tmp_path, prepare, message):
    prepare(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=message):
        write.generate(tmp_path, TINY, progress=False)
    assert contents(tmp_path) == before


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


# --- what is annotated


def square(side: int = 20) -> np.ndarray:
    image = np.zeros((side + 4, side + 4, 4), np.uint8)
    image[2:-2, 2:-2] = (10, 20, 200, 255)
    return image


def still(x: float, y: float, label: int, track: int = -1, side: int = 20) -> layers.Layer:
    """A square whose top left corner stays at (x, y)."""
    path = motion.moving(np.full((1, 2), 0.0) + (x + (side - 1) / 2, y + (side - 1) / 2))
    return layers.Layer.along(square(side), path, label, track)


def clip_of(*things: layers.Layer) -> scene.Scene:
    clean = degrade.Degradation(np.ones(1), np.zeros(1), np.ones(1), 0.0, 0.0)
    return scene.Scene(60, 80, np.zeros((60, 80, 3), np.uint8), np.eye(2, 3)[None], things, clean, (0,))


def test_box_is_the_silhouette_in_inclusive_pixels():
    assert clip_of(still(30, 10, 4, 7)).objects(0) == [scene.Object(7, 4, (30, 10, 49, 29), False)]


def test_box_is_cut_by_the_frame():
    (found,) = clip_of(still(-8, 45, 1, 0)).objects(0)
    assert found.box == (0, 45, 11, 59)


def test_object_that_left_the_frame_by_more_than_60_percent_is_dropped():
    assert len(clip_of(still(-11, 10, 1, 0)).objects(0)) == 1  # 9 of 20 columns inside
    assert clip_of(still(-13, 10, 1, 0)).objects(0) == []  # 7 of 20


def test_covered_object_is_marked_and_then_dropped():
    assert [each.occluded for each in clip_of(still(30, 10, 1, 0), still(46, 10, 0)).objects(0)] == [False]  # 4 of 20
    assert [each.occluded for each in clip_of(still(30, 10, 1, 0), still(40, 10, 0)).objects(0)] == [True]  # 10 of 20
    assert clip_of(still(30, 10, 1, 0), still(32, 10, 0)).objects(0) == []  # 18 of 20
    assert len(clip_of(still(32, 10, 0), still(30, 10, 1, 0)).objects(0)) == 1  # below, it hides nothing


def test_speeds_and_sizes_all_occur():
    clips = [scene.scene_of(DEFAULT, "val", number) for number in range(12)]
    spans = [max(layer.image.shape[:2]) - 4 for clip in clips for layer in clip.layers if layer.label]
    speeds = [
        np.linalg.norm(layer.velocity, axis=1).max() / span
        for span, layer in zip(spans, (layer for clip in clips for layer in clip.layers if layer.label))
    ]
    assert min(spans) < 45 and max(spans) > 150
    assert min(speeds) < 0.007 and max(speeds) > 0.05


# --- motion


@given(st.sampled_from(motion.KINDS), st.floats(20, 240), st.integers(0, 10**6))
@options(max_examples=25, deadline=None)
def test_no_object_moves_faster_than_a_flow_network_can_follow(kind, span, seed):
    path = motion.drift(np.random.default_rng(seed), kind, span, 24)
    assert np.linalg.norm(np.diff(path.centre, axis=0), axis=1).max() <= motion.MAX_SPEED + 1e-6
    assert np.abs(path.scale - 1).max() < 0.06
    if kind == "slow":
        assert np.abs(path.velocity).max() <= 0.006 * span


def test_unknown_kind_of_motion_is_an_error():
    with pytest.raises(ValueError, match="slow, medium, fast"):
        motion.drift(np.random.default_rng(0), "quick", 50, 24)


def test_transform_takes_the_middle_of_the_sprite_to_the_centre():
    path = motion.moving(np.array([[30.0, 40.0]]), 0.3, 1.2)
    matrix = path.transforms(11, 21)[0]
    assert matrix @ (10, 5, 1) == pytest.approx((30, 40))
    assert np.linalg.det(matrix[:, :2]) == pytest.approx(1.44)


# --- degradations


@given(st.floats(-40, 40), st.floats(-40, 40))
@options(max_examples=25, deadline=None)
def test_blur_kernel_is_a_centred_line_of_the_motion(dx, dy):
    kernel = degrade.line_kernel(np.array([dx, dy])).astype(float)
    y, x = np.mgrid[0 : len(kernel), 0 : len(kernel)] - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert (kernel * x).sum() == pytest.approx(0, abs=1e-3) and (kernel * y).sum() == pytest.approx(0, abs=1e-3)
    rows, columns = np.nonzero(kernel > 1e-6)
    assert np.ptp(columns) <= abs(dx) + 2 and np.ptp(rows) <= abs(dy) + 2
    assert np.ptp(columns) >= abs(dx) - 1 and np.ptp(rows) >= abs(dy) - 1


def test_spells_are_short_and_take_their_share():
    rng = np.random.default_rng(0)
    runs = [degrade.spells(rng, 200, 0.3, 2, 4) for _ in range(40)]
    assert np.mean([(run >= 0).mean() for run in runs]) == pytest.approx(0.3, abs=0.05)
    lengths = [count for run in runs for count in np.bincount(run[run >= 0])[1:-1]]  # the ends may be cut
    assert set(lengths) == {2, 3, 4}


def test_degradations_do_what_they_say():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = 200
    noise = np.random.default_rng(0).standard_normal(image.shape, np.float32)

    def shown(defocus=0.0, contrast=1.0, sigma=0.0):
        faults = degrade.Degradation(np.ones(1), np.full(1, defocus), np.full(1, contrast), 100.0, sigma)
        return degrade.finish(image, faults, 0, noise).astype(float)

    assert (shown() == image).all()
    assert shown(contrast=0.5)[0, [0, 39], 0].tolist() == [50, 150]
    assert 60 < shown(defocus=3.0)[0, 19, 0] < 140
    assert shown(contrast=0.5, sigma=8.0).std() > shown(contrast=0.5).std()
    assert shown(contrast=0.5, sigma=8.0)[:, :15].std() == pytest.approx(8, abs=0.5)


def test_moving_object_is_blurred_along_its_motion_only_when_degraded():
    path = motion.Trajectory(np.array([[40.0, 30]]), np.zeros(1), np.ones(1), np.array([[12.0, 0]]))
    clip = clip_of(layers.Layer.along(square(), path, 1, 0))
    sharp, blurred = clip.render(0, degraded=False)[..., 2], clip.render(0)[..., 2]
    assert set(np.unique(sharp)) <= {0, 50, 100, 200}  # at half a pixel: its edges are grey, its corners darker
    assert ((blurred > 0).sum(1).max() - (sharp > 0).sum(1).max()) in (10, 11, 12, 13)
    assert ((blurred > 0).sum(0).max() - (sharp > 0).sum(0).max()) in (0, 1)


# --- flow


def warped(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    return cv2.remap(image, x + field[0], y + field[1], cv2.INTER_LINEAR)


def test_flow_of_a_square_is_its_shift_and_that_of_the_backdrop_the_pan():
    path = motion.moving(np.array([[20.0, 20], [27, 16]]))
    camera = motion.moving(np.array([[0.0, 0], [1, 2]])).transforms(1, 1)
    clean = degrade.Degradation(np.ones(2), np.zeros(2), np.ones(2), 0.0, 0.0)
    thing = layers.Layer.along(square(), path, 3, 0)
    clip = scene.Scene(60, 80, np.zeros((60, 80, 3), np.uint8), camera, (thing,), clean, (0,))
    found = flow.frame_pair(clip, 0, 1)
    assert found.flow.shape == (2, 60, 80) and found.flow.dtype == np.float32
    assert found.flow[:, 20, 20] == pytest.approx((7, -4), abs=1e-4)
    assert found.flow[:, 50, 60] == pytest.approx((1, 2), abs=1e-4)
    assert found.objects[20, 20] and not found.objects[50, 60]
    assert found.moving[20, 20] and not found.moving[50, 60]  # the backdrop is no object


def test_object_behind_another_in_the_second_frame_does_not_count_as_moving():
    path = motion.moving(np.array([[20.0, 20], [50, 20]]))
    wall = layers.Layer.along(square(40), motion.moving(np.array([[55.0, 20], [55, 20]])))
    clean = degrade.Degradation(np.ones(2), np.zeros(2), np.ones(2), 0.0, 0.0)
    clip = scene.Scene(60, 80, np.zeros((60, 80, 3), np.uint8), np.eye(2, 3)[None].repeat(2, 0),
                       (layers.Layer.along(square(), path, 3, 0), wall), clean, (0,))  # fmt: skip
    found = flow.frame_pair(clip, 0, 1)
    assert found.objects[20, 20] and found.flow[0, 20, 20] == pytest.approx(30) and not found.moving[20, 20]


@pytest.mark.parametrize(("number", "i", "j"), [(0, 3, 4), (1, 3, 7), (2, 15, 6), (20, 5, 14)])
def test_flow_takes_the_second_frame_back_to_the_first(number, i, j):
    found = flow.frame_pair(scene.scene_of(DEFAULT, "val", number), i, j, degraded=False)
    inner = cv2.erode(found.moving.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert inner.sum() > 200
    error = np.abs(warped(found.image_j, found.flow).astype(float) - found.image_i)[inner].mean()
    unmoved = np.abs(found.image_j.astype(float) - found.image_i)[inner].mean()
    assert error < 8 and error < 0.35 * unmoved


def test_flow_there_and_back_is_zero():
    clip = scene.scene_of(DEFAULT, "val", 3)
    assert np.abs(flow.frame_pair(clip, 4, 4).flow).max() < 1e-3
    there, back = flow.frame_pair(clip, 4, 9), flow.frame_pair(clip, 9, 4)
    returned = np.stack([warped(back.flow[axis], there.flow) for axis in (0, 1)])
    inner = cv2.erode(there.moving.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    assert np.abs(there.flow + returned)[:, inner].mean() < 0.1


def test_frames_of_a_pair_are_those_of_the_clip():
    clip = scene.scene_of(DEFAULT, "val", 5)
    found = flow.frame_pair(clip, 2, 11)
    assert (found.image_i == clip.render(2)).all() and (found.image_j == clip.render(11)).all()


def test_random_pairs_are_right_varied_and_repeatable():
    rng = np.random.default_rng(4)
    moved, errors, unmoved = [], [], []
    for _ in range(12):
        a, b, field, moving = flow.random_pair(rng, 160, 192, degraded=False)
        assert a.shape == b.shape == (160, 192, 3) and field.shape == (2, 160, 192) and moving.shape == (160, 192)
        inner = cv2.erode(moving.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        moved.append(np.hypot(*field)[moving])
        errors.append(np.abs(warped(b, field).astype(float) - a)[inner])
        unmoved.append(np.abs(b.astype(float) - a)[inner])
    assert np.concatenate(errors).mean() < 0.3 * np.concatenate(unmoved).mean()
    assert np.percentile(np.concatenate(moved), 20) < 10 and np.percentile(np.concatenate(moved), 95) > 25
    first, second = (flow.random_pair(np.random.default_rng(9)) for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, second))


# --- crops and sprites


def test_crops_outside_the_spells_are_sharper(monkeypatch):
    def sharpness(share):
        monkeypatch.setattr(crops, "_CLEAR", share)
        images, _ = crops.crops(np.random.default_rng(1), 60, 64)
        return np.mean([cv2.Laplacian(cv2.GaussianBlur(image, (0, 0), 1.5), cv2.CV_32F).std() for image in images])

    assert sharpness(1.0) > 1.2 * sharpness(0.0)


def test_clear_keeps_the_noise_and_ends_the_spells():
    faults = degrade.draw(np.random.default_rng(0), 200)
    found = degrade.clear(faults)
    assert (found.noise, found.grey) == (faults.noise, faults.grey)
    assert (found.exposure == degrade.SHUTTER).all() and (found.defocus == 0).all() and (found.contrast == 1).all()
    assert not (faults.exposure == degrade.SHUTTER).all()


def test_crops_are_labelled_repeatable_and_of_every_class():
    images, labels = crops.crops(np.random.default_rng(1), 120, 64)
    again, labels_again = crops.crops(np.random.default_rng(1), 120, 64)
    assert images.shape == (120, 64, 64, 3) and images.dtype == np.uint8 and labels.dtype == np.int32
    assert set(labels.tolist()) == set(range(9))
    assert (images == again).all() and (labels == labels_again).all()
    assert crops.crops(np.random.default_rng(1), 0)[0].shape == (0, 96, 96, 3)


@pytest.mark.parametrize("label", range(9))
def test_sprite_has_the_span_asked_for_and_a_dark_rim(label):
    rng = np.random.default_rng(label)
    image = sprites.thing(rng, label, 60) if label else sprites.distractor(rng, 60)
    _, _, width, height = cv2.boundingRect((image[..., 3] > 127).astype(np.uint8))
    assert max(width, height) == pytest.approx(60, abs=2)
    assert (image[..., :3] <= image[..., 3:].astype(int) + 1).all()  # colours times alpha
    solid = (image[..., 3] > 250).astype(np.uint8)
    rim = (solid > 0) & (cv2.erode(solid, np.ones((3, 3), np.uint8)) == 0)
    assert image[..., :3][rim].mean() < 0.75 * image[..., :3][(solid > 0) & ~rim].mean()


def test_motion_of_the_tiny_dataset_is_measured_by_the_rule_of_imagenet_vid(dataset):
    names = [f"train/MiniVID_train_{clip:04d}/{frame:06d}" for clip in range(2) for frame in range(18)]
    index = imagenet_vid.build_index(
        dataset / "Annotations" / "VID", names, ClassList.load(dataset / "classes.txt"), progress=False
    )
    values = motion_iou(index)
    assert len(values) > 50 and values.min() < 0.9 < values.max() <= 1
