"""R-FCN through its real scripts: training, going on, testing, and what they say to bad input."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial

import numpy as np
import pytest

from lib.config import load_config as load_settings
from lib.dataset.imagenet_vid import video_entries as videos_of
from lib.inference.evaluate import already_done
from lib.nets.params import load, save
from lib.settings import output_folder, weights_path
from rfcn.method import METHOD
from tests import tiny
from tests.inference.test_evaluate import detected
from tests.tiny import parameters, refused, run_script

ENGINE = {"mxnet": "MXNet", "torch": "PyTorch"}[tiny.BACKEND]

TRAIN_TEST, TEST = "experiments/rfcn/rfcn_end2end_train_test.py", "experiments/rfcn/rfcn_test.py"
training = partial(tiny.training, method="rfcn")


def load_config(path, overrides=()):
    return load_settings(path, overrides, METHOD.schema)


@pytest.fixture(scope="module")
def trained(minivid, tmp_path_factory):
    """The folder with the YAML file, after two epochs of training and a test."""
    folder = tmp_path_factory.mktemp("rfcn")
    run_script(TRAIN_TEST, "--cfg", tiny.write_experiment(folder, minivid))
    return folder


def results(folder):
    return folder / "output" / "rfcn" / "Tiny" / "rfcn" / "VID_val_videos"


def test_training_leaves_weights_states_settings_log_and_curves(trained):
    names = {path.name for path in training(trained).iterdir()}
    checkpoints = {f"tiny-000{epoch}{suffix}" for epoch in (1, 2) for suffix in (".params", ".state.npz")}
    assert names == checkpoints | {"config.yaml", "train.log", "losses.jsonl", "losses.png"}
    cfg = load_config(trained / "rfcn.yaml")
    assert load_config(training(trained) / "config.yaml") == cfg  # defaults included
    assert output_folder(cfg, "rfcn", "rfcn", "VID_train_15frames") == training(trained)
    assert weights_path(cfg, training(trained)) == training(trained) / "tiny-0002.params"
    log = (training(trained) / "train.log").read_text()
    assert "new layers: feat_conv_3x3_weight" in log and re.search(r"epoch 2 step (\d+)/\1, ", log)


def test_frozen_layers_are_those_it_started_from_and_the_others_moved(trained):
    start, end = parameters(trained / "backbone-0000.params"), parameters(training(trained) / "tiny-0002.params")
    for name, value in start.items():
        frozen = name.startswith(("conv1", "res2", "bn"))
        assert np.array_equal(end[name], value) == frozen, name
    stds = np.tile(np.float32([0.1, 0.1, 0.2, 0.2]), 2).repeat(9)  # 3x3 bins
    np.testing.assert_allclose(end["rfcn_bbox_bias_test"], end["rfcn_bbox_bias"] * stds, rtol=1e-6)


def test_the_test_writes_detections_and_results(trained, minivid):
    names = {path.name for path in results(trained).iterdir()}
    assert {"detections.txt", "results.json"} <= names
    report = json.loads((results(trained) / "results.json").read_text())
    assert np.array(report["ap"]).shape == (4, 4, 8) and -1 <= report["mean"][0][0] <= 1
    used = report["manifest"]
    assert used["weights"]["path"].endswith("tiny-0002.params") and used["config"]["dataset"]["dataset"] == "Tiny"
    assert used["backend"] in used["versions"]
    lines = [line.split() for line in (results(trained) / "detections.txt").read_text().splitlines()]
    frames, classes = ({int(line[column]) for line in lines} for column in (0, 1))
    assert frames <= set(range(1, 13)) and classes <= set(range(1, 9))
    boxes = np.array([line[3:] for line in lines], float)
    assert boxes.min() >= 0 and boxes[:, [0, 2]].max() < 96 and boxes[:, [1, 3]].max() < 64
    assert not (minivid / "cache").exists()  # nothing is written into the dataset


def test_training_again_overwrites_nothing(trained, capsys):
    before = {path: path.read_bytes() for path in training(trained).glob("tiny-*")}
    message = refused(capsys, TRAIN_TEST, "--cfg", trained / "rfcn.yaml")
    assert re.search(r"tiny-0001.params: is from an earlier training; continue it with --resume", message)
    assert {path: path.read_bytes() for path in training(trained).glob("tiny-*")} == before


def test_the_demo_takes_what_training_with_the_file_wrote(trained, tmp_path, capsys, caplog):
    demo = ("rfcn/demo.py", "--cfg", trained / "rfcn.yaml", "--output", tmp_path / "o")
    with caplog.at_level("INFO"):
        run_script(*demo, "--frames", "0")
    assert f"weights: {training(trained)}/tiny-0002.params" in caplog.text
    message = refused(capsys, *demo, "--set", "TEST.test_epoch=3")
    assert "rfcn.yaml: training with it has not written" in message and "tiny-0003.params yet" in message


def test_testing_alone_gives_the_same(trained, tmp_path):
    run_script(TEST, "--cfg", trained / "rfcn.yaml", "--output", tmp_path / "again")
    again, before = (folder / "detections.txt" for folder in (tmp_path / "again", results(trained)))
    assert again.read_bytes() == before.read_bytes()
    cfg = load_config(trained / "rfcn.yaml")
    first, second = training(trained) / "tiny-0001.params", training(trained) / "tiny-0002.params"
    assert already_done(tmp_path / "again", cfg, second)
    assert not already_done(tmp_path / "again", cfg, first)
    assert not already_done(tmp_path / "again", load_config(trained / "rfcn.yaml", ["TEST.NMS=0.4"]), second)
    assert not already_done(tmp_path, cfg, second)


def test_stopped_after_an_epoch_and_resumed_equals_uninterrupted(trained, tmp_path, minivid):
    tiny.resumed_equals(trained, tmp_path, minivid)


def test_seq_nms_and_other_ranges(trained, tmp_path):
    settings = ["TEST.SEQ_NMS=true", "TEST.MOTION_RANGES=[still=0.5:1]", "dataset.enable_detailed_eval=false"]
    argv = ("--cfg", trained / "rfcn.yaml", "--weights", training(trained) / "tiny-0002.params", "--name", "other")
    run_script(TEST, *argv, "--set", *settings, f"output_path={tmp_path}")
    report = json.loads((tmp_path / "rfcn" / "Tiny" / "other" / "VID_val_videos" / "results.json").read_text())
    assert [each["name"] for each in report["motion_ranges"]] == ["still"] and len(report["area_ranges"]) == 1


def test_detections_do_not_depend_on_the_number_of_workers(trained, tmp_path):
    cfg = load_config(trained / "rfcn.yaml")
    videos = videos_of(cfg.dataset.dataset_path, cfg.dataset.test_image_set)
    path = training(trained) / "tiny-0002.params"
    alone, together = (
        detected(tmp_path / str(workers), cfg, METHOD.detector.load, path, videos, workers) for workers in (1, 2)
    )
    assert len(alone) > 0
    for name in ("frame_ids", "classes"):
        np.testing.assert_array_equal(getattr(together, name), getattr(alone, name))
    for name in ("scores", "boxes"):
        np.testing.assert_allclose(getattr(together, name), getattr(alone, name), atol=1e-4)


# Bad input: one line, exit status 2, and nothing written


def test_no_settings(capsys):
    with pytest.raises(SystemExit) as left:
        run_script(TEST)
    assert left.value.code == 2 and "--cfg" in capsys.readouterr().err
    assert "nowhere.yaml: cannot read the settings" in refused(capsys, TEST, "--cfg", "nowhere.yaml")


@pytest.mark.parametrize("script", [TRAIN_TEST, TEST])
@pytest.mark.parametrize("settings, message", [
    ("TRAIN.lrr=1", "--set: unknown key TRAIN.lrr; did you mean TRAIN.lr?"),
    ("TRAIN.lr=fast", "TRAIN.lr must be a number, not 'fast'"),
    ("gpus=0", f"gpus: there is no GPU 0, {ENGINE} sees 0"),
    ("MXNET_VERSION=other", "MXNET_VERSION 'other': no package"),
    ("dataset.NUM_CLASSES=31", "dataset.NUM_CLASSES is 31, but the class list has 8 classes"),
    ("dataset.dataset_path=nowhere", "nowhere: no such dataset folder; give the folder of the dataset"),
])  # fmt: skip
def test_bad_settings(trained, tmp_path, capsys, script, settings, message):
    more = f"output_path={tmp_path / 'o'}"
    assert message in refused(capsys, script, "--cfg", trained / "rfcn.yaml", "--set", settings, more)
    assert not written(tmp_path)


def written(folder):
    """Files below a folder but for the cache of annotations."""
    return [path for path in folder.rglob("*") if path.is_file() and "cache" not in path.parts]


@pytest.mark.parametrize("script, settings, message", [
    (TEST, "dataset.test_image_set=VID_none", "VID_none.txt: list file cannot be read"),
    (TRAIN_TEST, "dataset.image_set=VID_none", "VID_none.txt: list file cannot be read"),
    (TRAIN_TEST, "dataset.image_set=train", "image set 'train'"),
    (TRAIN_TEST, "network.pretrained=nowhere", "nowhere-0000.params: no such weights; train them first"),
    (TRAIN_TEST, "network.STEM=7", "conv1_weight (7, 3, 7, 7): the pretrained weights have it as (8, 3, 7, 7)"),
    (TRAIN_TEST, "network.UNITS=[2,1,1,1]", "res2b_branch2a_weight (4, 16, 1, 1): the pretrained weights lack"),
    (TEST, "TEST.test_epoch=7", "tiny-0007.params: no such weights"),
    (TEST, "TEST.MOTION_RANGES=[slow]", "slow"),
    (TEST, "dataset.motion_iou_path=nowhere.mat", "nowhere.mat"),
])  # fmt: skip
def test_what_is_missing(trained, tmp_path, capsys, script, settings, message):
    more = f"output_path={tmp_path / 'o'}"
    with_weights = script == TEST and "epoch" not in settings
    given = ["--weights", training(trained) / "tiny-0002.params"] if with_weights else []
    assert message in refused(capsys, script, "--cfg", trained / "rfcn.yaml", *given, "--set", settings, more)
    assert not written(tmp_path)


def test_weights_of_another_network(trained, tmp_path, capsys):
    args, auxs = load(training(trained) / "tiny-0002.params")
    del args["conv1_weight"]
    args["flow_conv1_weight"] = args["rfcn_cls_bias_more"] = args["rfcn_cls_bias"]
    args["rfcn_cls_bias"] = args["rfcn_cls_bias"][:9]
    save(tmp_path / "other.params", args, auxs)
    argv = ("--cfg", trained / "rfcn.yaml", "--output", tmp_path / "o", "--weights")
    line = refused(capsys, TEST, *argv, tmp_path / "other.params")
    assert "1 missing, first conv1_weight; 2 extra, first flow_conv1_weight" in line
    assert "1 of wrong shape, first rfcn_cls_bias: (9,) instead of (81,)" in line
    (tmp_path / "broken.params").write_bytes((tmp_path / "other.params").read_bytes()[:-100])
    assert "cut short" in refused(capsys, TEST, *argv, tmp_path / "broken.params")
    assert "no such weights" in refused(capsys, TEST, *argv, tmp_path / "none.params")
    assert not (tmp_path / "o").exists()


def test_going_on_with_a_checkpoint_of_another_network(trained, tmp_path, capsys):
    shutil.copytree(training(trained), tmp_path / "rfcn" / "Tiny" / "rfcn" / "VID_train_15frames")
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file())
    settings = [
        f"output_path={tmp_path}",
        f"backend={tiny.BACKEND}",
        "network.EMBED_DIMS=[4,4,4]",
        "network.FEAT_DIM=32",
    ]
    line = refused(capsys, TRAIN_TEST, "--cfg", trained / "rfcn.yaml", "--resume", "--set", *settings)
    assert "weights of another network" in line and "feat_conv_3x3_bias: (16,) instead of (32,)" in line
    assert before == sorted(
        (path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*") if path.is_file() and "cache" not in path.parts
    )


@pytest.mark.parametrize("script", [TRAIN_TEST, TEST])
def test_output_that_is_a_file(trained, tmp_path, capsys, script):
    (tmp_path / "file").write_text("")
    argv = ("--cfg", trained / "rfcn.yaml", "--output", tmp_path / "file" / "o", "--set", f"output_path={tmp_path}")
    assert f"{tmp_path / 'file'} is a file; choose another output folder" in refused(capsys, script, *argv)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# Bad data


@pytest.fixture
def broken(minivid, trained, tmp_path):
    """broken(script, change) -> the arguments of a script on a copy of the dataset that `change(root)` spoils."""

    def arguments(script, change):
        root = tmp_path / "data"
        shutil.copytree(minivid, root)
        change(root)
        settings = [f"dataset.dataset_path={root}", f"output_path={tmp_path / 'o'}"]
        found = [script, "--cfg", trained / "rfcn.yaml", "--set", *settings]
        return found + (["--weights", training(trained) / "tiny-0002.params"] if script == TEST else [])

    return arguments


def edit(path, old, new):
    """A change of one file's text."""

    def change(root):
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new, 1))

    return change


def cut(pattern):
    def change(root):
        for path in root.glob(pattern):
            path.write_bytes(path.read_bytes()[:-200])

    return change


def remove(pattern):
    def change(root):
        for path in root.glob(pattern):
            path.unlink()

    return change


def an_object(name, *box):
    corners = "".join(f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box))
    return f"<object><trackid>9</trackid><name>{name}</name><bndbox>{corners}</bndbox></object></annotation>"


VAL, TRAIN = "VID/val/MiniVID_val_0001", "VID/train/MiniVID_train_0001"
VAL_XML, TRAIN_XML = f"Annotations/{VAL}/000004.xml", f"Annotations/{TRAIN}/000003.xml"


def narrower(root):
    edit(TRAIN_XML, "<width>96", "<width>86")(root)
    edit(TRAIN_XML, "</annotation>", an_object("mv01", 1, 1, 9, 9))(root)  # or the picture would not be read


@pytest.mark.parametrize("script, change, message", [
    (TEST, remove(f"Data/{VAL}/000004.JPEG"), f"{VAL}/000004.JPEG: cannot read the image"),
    (TEST, cut(f"Data/{VAL}/000004.JPEG"), f"{VAL}/000004.JPEG: truncated image"),
    (TEST, cut(f"Annotations/{VAL}/000004.xml"), f"{VAL}/000004.xml"),
    (TEST, remove(f"Annotations/{VAL}/000004.xml"), f"{VAL}/000004.xml"),
    (TEST, edit(VAL_XML, "</annotation>", an_object("cat", 1, 1, 9, 9)), "000004.xml:"),
    (TEST, edit("ImageSets/VID_val_videos.txt", " 0 6", " 0"), "VID_val_videos.txt:1: 3 columns instead of 4"),
    (TRAIN_TEST, remove(f"Data/{TRAIN}/*.JPEG"), ".JPEG: cannot read the image"),
    (TRAIN_TEST, cut(f"Data/{TRAIN}/*.JPEG"), ".JPEG: truncated image"),
    (TRAIN_TEST, edit(TRAIN_XML, "</annotation>", an_object("cat", 1, 1, 9, 9)), "000003.xml:"),
    (TRAIN_TEST, edit(TRAIN_XML, "</annotation>", an_object("mv01", 9, 1, 1, 9)), "inverted box"),
    (TRAIN_TEST, narrower, "the image is 96x64, but"),
    (TRAIN_TEST, edit("ImageSets/VID_train_15frames.txt", " 1 0 6", " 1 6"), "VID_train_15frames.txt:1: 3 columns"),
])  # fmt: skip
def test_bad_data(broken, capsys, tmp_path, script, change, message):
    assert message in refused(capsys, *broken(script, change))
    left = {path.name for path in written(tmp_path / "o")}
    training, test = {"config.yaml", "train.log", "losses.jsonl"}, {"000000.npy", "manifest.json"}
    assert left <= training | test  # of what had begun
