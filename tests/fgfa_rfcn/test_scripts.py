"""FGFA through its real scripts: training, going on, testing with and without flow."""

from __future__ import annotations

import json
import logging
from functools import partial

import numpy as np
import pytest

from fgfa_rfcn.method import METHOD
from lib.config import load_config
from lib.nets.flownet import is_flow_layer
from lib.nets.params import load, save
from tests import tiny
from tests.golden import same_detections
from tests.tiny import parameters, refused, run_script

TRAIN_TEST = "experiments/fgfa_rfcn/fgfa_rfcn_end2end_train_test.py"
TEST = "experiments/fgfa_rfcn/fgfa_rfcn_test.py"
SETTINGS = {"TRAIN": {"MIN_OFFSET": -1, "MAX_OFFSET": 1}}
training = partial(tiny.training, method="fgfa_rfcn")


@pytest.fixture(scope="module")
def trained(minivid, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fgfa")
    run_script(TRAIN_TEST, "--cfg", tiny.write_experiment(folder, minivid, "fgfa_rfcn", **SETTINGS))
    return folder


def mean(folder):
    return json.loads((folder / "results.json").read_text())["mean"]


def test_the_flow_network_and_the_embedding_train_too(trained):
    start = parameters(trained / "flow-0000.params")
    end = parameters(training(trained) / "tiny-0002.params")
    assert set(start) == {name for name in end if is_flow_layer(name)} and len(start) > 20
    for name, value in start.items():
        assert not np.array_equal(end[name], value), name
    assert np.abs(end["em_conv1_bias"]).max() > 0  # it starts at 0
    assert (training(trained).parent / "VID_val_videos" / "detections.txt").stat().st_size > 0


def test_stopped_after_an_epoch_and_resumed_equals_uninterrupted(trained, tmp_path, minivid):
    tiny.resumed_equals(trained, tmp_path, minivid, "fgfa_rfcn", **SETTINGS)


def test_testing_alone_gives_the_same_and_a_batch_too(trained, tmp_path):
    run_script(TEST, "--cfg", trained / "fgfa_rfcn.yaml", "--output", tmp_path / "again")
    first = training(trained).parent / "VID_val_videos"
    assert (tmp_path / "again" / "detections.txt").read_bytes() == (first / "detections.txt").read_bytes()
    assert mean(tmp_path / "again") == mean(first)
    cfg = load_config(trained / "fgfa_rfcn.yaml", ["TEST.NMS=1", "TEST.SCORE_THRESH=0"], METHOD.schema)
    path = training(trained) / "tiny-0002.params"
    frames = tiny.clip(7, 64, 96)
    one, four = (list(METHOD.detector.load(cfg, path, batch=batch)(frames)) for batch in (1, 4))
    assert len(one) == len(four) == 7
    for a, b in zip(one, four):
        same_detections(a, b, share=0.9)


def test_trained_and_tested_without_warp(trained, tmp_path, minivid):
    """Needs no flow weights, and weights that hold them serve as well."""
    cfg = tiny.write_experiment(tmp_path, minivid, "fgfa_rfcn", **SETTINGS)
    (tmp_path / "flow-0000.params").unlink()
    run_script(TRAIN_TEST, "--cfg", cfg, "--set", "TRAIN.WARP=false", "TEST.WARP=false", "TRAIN.end_epoch=1")
    assert not any(map(is_flow_layer, parameters(training(tmp_path) / "tiny-0001.params")))
    path = training(trained) / "tiny-0002.params"
    run_script(TEST, "--cfg", cfg, "--weights", path, "--output", tmp_path / "o", "--set", "TEST.WARP=false")
    assert (tmp_path / "o" / "detections.txt").stat().st_size > 0


@pytest.mark.parametrize("setting", ["TEST.WEIGHTS=mean", "TEST.causal=true", "TEST.KEY_FRAME_INTERVAL=0"])
def test_other_settings_give_other_detections(trained, tmp_path, setting):
    run_script(TEST, "--cfg", trained / "fgfa_rfcn.yaml", "--output", tmp_path, "--set", setting)
    first = training(trained).parent / "VID_val_videos"
    assert (tmp_path / "detections.txt").read_bytes() != (first / "detections.txt").read_bytes()


def test_neighbours_from_further_than_the_window_are_warned_of(minivid, tmp_path, caplog, capsys):
    cfg = tiny.write_experiment(tmp_path, minivid, "fgfa_rfcn")
    with caplog.at_level(logging.WARNING):
        line = refused(capsys, TRAIN_TEST, "--cfg", cfg, "--set", "network.pretrained=nowhere")
    assert "nowhere-0000.params: no such weights" in line
    assert "training draws neighbours from -9..9, but TEST.KEY_FRAME_INTERVAL 1 aggregates -1..1" in caplog.text


def test_missing_flow_weights(minivid, tmp_path, capsys):
    cfg = tiny.write_experiment(tmp_path, minivid, "fgfa_rfcn", **SETTINGS)
    (tmp_path / "flow-0000.params").unlink()
    assert "flow-0000.params: no such weights" in refused(capsys, TRAIN_TEST, "--cfg", cfg)
    save(tmp_path / "flow-0000.params", {"conv2_bias": np.zeros(4, np.float32)}, {})
    line = refused(capsys, TRAIN_TEST, "--cfg", cfg)
    assert "parameter flow_conv1_weight (4, 6, 7, 7): the pretrained weights lack it" in line
    assert not training(tmp_path).exists()


def test_weights_of_the_frame_baseline(trained, tmp_path, capsys):
    args, auxs = load(training(trained) / "tiny-0002.params")
    kept = {n: value for n, value in args.items() if not is_flow_layer(n) and not n.startswith("em_")}
    save(tmp_path / "rfcn.params", kept, auxs)
    argv = ("--cfg", trained / "fgfa_rfcn.yaml", "--weights", tmp_path / "rfcn.params", "--output", tmp_path / "o")
    line = refused(capsys, TEST, *argv)
    assert "weights of another network (" in line and "missing, first Convolution1_bias)" in line
    assert not (tmp_path / "o").exists()
