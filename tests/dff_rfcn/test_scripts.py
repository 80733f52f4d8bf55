"""Deep Feature Flow through its real scripts: training, testing, the demo, calibration."""

from __future__ import annotations

import json
import logging
import shutil
from functools import partial

import cv2
import numpy as np
import pytest

from dff_rfcn.method import METHOD
from lib.config import load_config
from lib.nets.flownet import SCALE_LAYER, is_flow_layer
from lib.nets.params import load, save
from tests import tiny
from tests.conftest import needs
from tests.golden import same_detections
from tests.tiny import parameters, refused, run_script

TRAIN_TEST = "experiments/dff_rfcn/dff_rfcn_end2end_train_test.py"
TEST = "experiments/dff_rfcn/dff_rfcn_test.py"
SETTINGS = {"TRAIN": {"MIN_OFFSET": -2, "MAX_OFFSET": 0, "CLIP_GRADIENT": 10.0}, "TEST": {"KEY_FRAME_INTERVAL": 3}}
training = partial(tiny.training, method="dff_rfcn")


@pytest.fixture(scope="module")
def trained(minivid, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dff")
    run_script(TRAIN_TEST, "--cfg", tiny.write_experiment(folder, minivid, "dff_rfcn", **SETTINGS))
    return folder


def test_the_flow_network_and_the_scale_map_train_too(trained):
    start = parameters(trained / "flow-0000.params")
    end = parameters(training(trained) / "tiny-0002.params")
    scale = {f"{SCALE_LAYER}_weight", f"{SCALE_LAYER}_bias"}
    assert set(start) == {name for name in end if is_flow_layer(name)} - scale and len(start) > 20
    for name, value in start.items():
        assert not np.array_equal(end[name], value), name
    assert np.abs(end[f"{SCALE_LAYER}_weight"]).max() > 0  # it starts at 0
    assert (end[f"{SCALE_LAYER}_bias"] == 1).all()
    assert (training(trained).parent / "VID_val_videos" / "detections.txt").stat().st_size > 0


def test_stopped_after_an_epoch_and_resumed_equals_uninterrupted(trained, tmp_path, minivid):
    tiny.resumed_equals(trained, tmp_path, minivid, "dff_rfcn", **SETTINGS)


def test_testing_again_gives_the_same_and_a_batch_too(trained, tmp_path):
    run_script(TEST, "--cfg", trained / "dff_rfcn.yaml", "--output", tmp_path / "again")
    first = training(trained).parent / "VID_val_videos"
    assert (tmp_path / "again" / "detections.txt").read_bytes() == (first / "detections.txt").read_bytes()
    cfg = load_config(trained / "dff_rfcn.yaml", ["TEST.NMS=1", "TEST.SCORE_THRESH=0"], METHOD.schema)
    path, frames = training(trained) / "tiny-0002.params", tiny.clip(7, 64, 96)
    one, three = (list(METHOD.detector.load(cfg, path, batch=batch)(frames)) for batch in (1, 3))
    assert len(one) == len(three) == 7
    for a, b in zip(one, three):
        same_detections(a, b, share=0.9)


def test_another_interval_gives_other_detections(trained, tmp_path):
    first = training(trained).parent / "VID_val_videos"
    run_script(TEST, "--cfg", trained / "dff_rfcn.yaml", "--output", tmp_path, "--set", "TEST.KEY_FRAME_INTERVAL=2")
    assert (tmp_path / "detections.txt").read_bytes() != (first / "detections.txt").read_bytes()


def test_an_interval_of_1_is_the_frame_baseline_and_takes_its_weights(trained, tmp_path):
    args, auxs = load(training(trained) / "tiny-0002.params")
    save(tmp_path / "rfcn.params", {name: value for name, value in args.items() if not is_flow_layer(name)}, auxs)
    for script, output in ((TEST, "dff"), ("experiments/rfcn/rfcn_test.py", "rfcn")):
        argv = ("--weights", tmp_path / "rfcn.params", "--output", tmp_path / output)
        run_script(script, "--cfg", trained / "dff_rfcn.yaml", *argv, "--set", "TEST.KEY_FRAME_INTERVAL=1")
    found = [(tmp_path / name / "detections.txt").read_bytes() for name in ("dff", "rfcn")]
    assert found[0] == found[1] and found[0]


def test_weights_of_the_frame_baseline_are_refused_otherwise(trained, tmp_path, capsys):
    args, auxs = load(training(trained) / "tiny-0002.params")
    save(tmp_path / "rfcn.params", {name: value for name, value in args.items() if not is_flow_layer(name)}, auxs)
    argv = ("--cfg", trained / "dff_rfcn.yaml", "--weights", tmp_path / "rfcn.params", "--output", tmp_path / "o")
    line = refused(capsys, TEST, *argv)
    assert "weights of another network (" in line and "missing, first Convolution1_bias)" in line


@pytest.mark.parametrize("setting, message", [
    ("TEST.KEY_FRAME_INTERVAL=0", "TEST.KEY_FRAME_INTERVAL must be 1 or more: it is the distance of key frames in DFF"),
    ("TRAIN.MIN_OFFSET=1", "TRAIN.MIN_OFFSET must not exceed TRAIN.MAX_OFFSET"),
    ("TEST.causal=true", "unknown key TEST.causal"),
])  # fmt: skip
def test_settings_that_are_refused(trained, capsys, setting, message):
    assert message in refused(capsys, TEST, "--cfg", trained / "dff_rfcn.yaml", "--set", setting)


def test_other_key_frames_than_at_test_time_are_warned_of(minivid, tmp_path, caplog, capsys):
    cfg = tiny.write_experiment(tmp_path, minivid, "dff_rfcn")
    with caplog.at_level(logging.WARNING):
        refused(capsys, TRAIN_TEST, "--cfg", cfg, "--set", "network.pretrained=nowhere")
    assert "training draws key frames from -9..0, but with TEST.KEY_FRAME_INTERVAL 1 they are at 0..0" in caplog.text


def test_missing_flow_weights(minivid, tmp_path, capsys):
    cfg = tiny.write_experiment(tmp_path, minivid, "dff_rfcn", **SETTINGS)
    (tmp_path / "flow-0000.params").unlink()
    assert "flow-0000.params: no such weights" in refused(capsys, TRAIN_TEST, "--cfg", cfg)


# The demo


@pytest.fixture(scope="module")
def clip(minivid, tmp_path_factory):
    """A folder of 10 frames."""
    folder = tmp_path_factory.mktemp("clip") / "ten"
    folder.mkdir()
    for number, frame in enumerate(tiny.clip(10, 64, 96)):
        cv2.imwrite(str(folder / f"{number:06d}.png"), frame)
    return folder


@pytest.fixture
def demo(trained, minivid, clip):
    """demo(script, *options): runs a demo on the clip with the trained weights -> nothing."""

    def run(script, *options):
        own = ("--cfg", trained / "dff_rfcn.yaml", "--weights", training(trained) / "tiny-0002.params")
        run_script(f"dff_rfcn/{script}", *own, "--input", clip, "--threshold", "0.05", "--animation", "none", *options)

    return run


def boxes(folder):
    found = [json.loads(line)["detections"] for line in (folder / "detections.jsonl").read_text().splitlines()]
    assert len(found) == 10 and sum(map(len, found)) > 10
    return [[(each["class"], each["score"], each["box"]) for each in frame] for frame in found]


def test_the_batch_demo_finds_the_same(demo, tmp_path):
    demo("demo.py", "--output", tmp_path / "one")
    demo("demo_batch.py", "--output", tmp_path / "ten")
    for one, other in zip(boxes(tmp_path / "one"), boxes(tmp_path / "ten")):
        assert [each[0] for each in one] == [each[0] for each in other]
        np.testing.assert_allclose([each[1] for each in one], [each[1] for each in other], atol=1e-3)


@pytest.mark.parametrize("done", [1, 4, 6])
def test_resuming_keeps_the_key_frames_where_they_were(demo, tmp_path, done):
    demo("demo.py", "--output", tmp_path / "whole", "--track")
    part = tmp_path / "part"
    shutil.copytree(tmp_path / "whole", part)
    lines = (part / "detections.jsonl").read_text().splitlines(keepends=True)
    (part / "detections.jsonl").write_text("".join(lines[:done]))
    for number in range(done, 10):
        (part / f"{number:06d}.png").unlink()
    demo("demo.py", "--output", part, "--track", "--resume")
    assert (part / "detections.jsonl").read_text() == (tmp_path / "whole" / "detections.jsonl").read_text()


def test_a_resumed_run_feeds_the_frames_since_the_key_frame_again(trained):
    cfg = load_config(trained / "dff_rfcn.yaml", schema=METHOD.schema)
    assert [METHOD.replay(cfg, done) for done in range(8)] == [0, 1, 2, 0, 1, 2, 0, 1]


def test_live(demo, tmp_path):
    demo("demo.py", "--live", "--fps", "5", "--output", tmp_path / "o")
    assert len((tmp_path / "o" / "detections.jsonl").read_text().splitlines()) > 2


def test_explain_draws_the_key_frame_the_flow_and_the_scale_map(demo, trained, tmp_path, clip, capsys):
    path = training(trained) / "tiny-0002.params"
    args, auxs = load(path)
    save(tmp_path / "rfcn.params", {name: value for name, value in args.items() if not is_flow_layer(name)}, auxs)
    baseline = ("--baseline", "rfcn", trained / "dff_rfcn.yaml", tmp_path / "rfcn.params")
    demo("demo.py", "--output", tmp_path / "o", "--explain", 5, 6, *baseline)
    folder = tmp_path / "o" / "explain"
    names = [f"{number:06d}_{kind}.png" for number in (5, 6) for kind in ("boxes", "key")]
    assert sorted(each.name for each in folder.iterdir()) == names
    key, frame = (cv2.imread(str(clip / f"{number:06d}.png")) for number in (3, 5))
    sheet = cv2.imread(str(folder / "000005_key.png"))[-64:]
    assert sheet.shape[1] >= 4 * 96
    np.testing.assert_array_equal(sheet[:, :96], key)
    column = (sheet.shape[1] - 96) // 3
    np.testing.assert_array_equal(sheet[:, column : column + 96], frame)
    still = cv2.imread(str(folder / "000006_key.png"))[-64:]
    assert (still[:, 2 * column : 2 * column + 96] == 255).all()  # a key frame: no flow
    assert not (sheet[:, 2 * column : 2 * column + 96] == 255).all()
    with pytest.raises(SystemExit) as left:
        demo("demo.py", "--output", tmp_path / "p", "--explain", 10, *baseline)
    assert left.value.code == 2
    assert "error: --explain 10: the clip's frames are numbered from 0 to 9" in capsys.readouterr().err


def test_calibration_for_int8(trained, tmp_path, clip, capsys):
    needs("mxnet")
    cfg, path = trained / "dff_rfcn.yaml", tmp_path / "tiny-0002.params"
    shutil.copy(training(trained) / "tiny-0002.params", path)
    options = ("--cfg", cfg, "--weights", path, "--input", clip)
    line = refused(capsys, "dff_rfcn/calibrate.py", *options, "--frames", "1")
    assert "no frame went through the flow network; measure on longer clips" in line
    run_script("dff_rfcn/calibrate.py", *options)
    assert set(json.loads(path.with_suffix(".int8.json").read_text())["ranges"]) == {"features", "flow"}
    found = []
    for precision in ("float32", "int8"):
        settings = [f"TEST.PRECISION={precision}", "TEST.NMS=1", "TEST.SCORE_THRESH=0"]
        detector = METHOD.detector.load(load_config(cfg, settings, METHOD.schema), path)
        found.append(list(detector(tiny.clip(4, 64, 96))))
    for one, other in zip(*found):
        assert len(one) == len(other)
        difference = np.abs(np.sort(one.scores) - np.sort(other.scores)).mean()
        assert 0 < difference < 0.1
