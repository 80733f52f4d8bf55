"""Validation, reporters and early stop, through the real scripts; training is the same with and without them."""

from __future__ import annotations

import json
import logging
import re
import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from lib.dataset.classes import ClassList
from lib.dataset.imagenet_vid import list_path
from lib.errors import InputError
from lib.eval.bootstrap import Interval
from lib.eval.truth import load_truth
from lib.methods import METHODS
from lib.training.reporters import callback
from lib.training.validation import History, balanced
from tests import tiny
from tests.tiny import parameters, refused, run_script

EVENTS = []


@pytest.fixture
def fake(monkeypatch):
    """A module with a function that notes what it gets."""
    module = types.ModuleType("fake_tracker")
    module.note = lambda event, step, values: EVENTS.append((event, step, dict(values)))
    monkeypatch.setitem(sys.modules, "fake_tracker", module)
    EVENTS.clear()


def script(method):
    return f"experiments/{method}/{method}_end2end_train_test.py"


@pytest.mark.parametrize("method", list(METHODS))
def test_training_is_the_same_with_and_without_validation(method, minivid, tmp_path, fake, caplog):
    runs = {}
    for name, settings in (("plain", []), ("watched", ["TRAIN.VALIDATE=0.5", "TRAIN.CALLBACK=fake_tracker:note"])):
        (tmp_path / name).mkdir()
        cfg = tiny.write_experiment(tmp_path / name, minivid, method)
        with caplog.at_level(logging.INFO):
            run_script(script(method), "--cfg", cfg, "--allow-callback", "--set", "default.frequent=2", *settings)
        runs[name] = tiny.training(tmp_path / name, method)
    plain, watched = runs["plain"], runs["watched"]
    assert (plain / "losses.jsonl").read_bytes() == (watched / "losses.jsonl").read_bytes()
    for name in ("tiny-0001.params", "tiny-0002.params"):
        assert (plain / name).read_bytes() == (watched / name).read_bytes()
    states = [np.load(each / "tiny-0002.state.npz") for each in (plain, watched)]
    assert states[0].files == states[1].files
    for name in states[0].files:
        np.testing.assert_array_equal(states[0][name], states[1][name], err_msg=name)
    steps = max(line["step"] for line in map(json.loads, (plain / "losses.jsonl").read_text().splitlines()))
    lines = [json.loads(line) for line in (watched / "validations.jsonl").read_text().splitlines()]
    every = max(round(0.5 * steps), 1)
    assert [line["step"] for line in lines] == list(range(every, 2 * steps + 1, every))
    assert list(lines[0]["map"]) == ["all", "fast", "medium", "slow"]
    for line in lines:
        assert -1 <= line["map"]["all"]["low"] <= line["map"]["all"]["map"] <= line["map"]["all"]["high"] <= 1
    values = [line["map"]["all"]["map"] for line in lines]
    best = lines[values.index(max(values))]["step"]
    if best == 2 * steps:
        assert (watched / "tiny-best.params").read_bytes() == (watched / "tiny-0002.params").read_bytes()
    assert not (plain / "tiny-best.params").exists()
    assert parameters(watched / "tiny-best.params").keys() == parameters(plain / "tiny-0002.params").keys()
    assert {step for event, step, _ in EVENTS if event == "validate"} == {line["step"] for line in lines}
    trained = [values for event, _, values in EVENTS if event == "train"]
    assert all({"RPNLogLoss", "lr", "images_per_second", "gradient_norm"} <= values.keys() for values in trained)
    assert all(values["gradient_norm"] > 0 for values in trained) and EVENTS[-1][:2] == ("end", 2 * steps)
    assert "validation: 2 videos of VID_val_videos with 12 frames" in caplog.text
    assert re.search(r"0:\d\d:\d\d to go", caplog.text)
    assert re.search(
        r"weights .*tiny-0002.params, log .*train.log, curves .*losses.png; test again with: ", caplog.text
    )


def test_validation_of_the_final_weights_is_that_of_the_test(minivid, tmp_path):
    cfg = tiny.write_experiment(tmp_path, minivid)
    run_script(
        script("rfcn"), "--cfg", cfg, "--set", "TRAIN.VALIDATE=1", "TRAIN.VALIDATE_VIDEOS=0", "TEST.SCORE_THRESH=0"
    )
    (result,) = (tmp_path / "output").rglob("results.json")
    last = json.loads((tiny.training(tmp_path, "rfcn") / "validations.jsonl").read_text().splitlines()[-1])
    expected = json.loads(result.read_text())["map"]
    assert {name: each["map"] for name, each in last["map"].items()} == {
        name: pytest.approx(each["map"], abs=1e-9) for name, each in expected.items()
    }


def test_a_resumed_training_continues_its_validations(minivid, tmp_path):
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
        cfg = tiny.write_experiment(tmp_path / name, minivid)
        argv = (script("rfcn"), "--cfg", cfg, "--set", "TRAIN.VALIDATE=0.5")
        if name == "resumed":
            run_script(*argv, "TRAIN.end_epoch=1")
            lines = tiny.training(tmp_path / name, "rfcn") / "validations.jsonl"
            lines.write_text("".join(lines.read_text().splitlines(keepends=True)[:-1]) + '{"step": 9')  # a crash
            run_script(*argv, "--resume")
        else:
            run_script(*argv)
    whole, resumed = (tiny.training(tmp_path / name, "rfcn") for name in ("whole", "resumed"))
    assert (whole / "validations.jsonl").read_bytes() == (resumed / "validations.jsonl").read_bytes()
    assert (whole / "tiny-best.params").read_bytes() == (resumed / "tiny-best.params").read_bytes()


def test_early_stop(minivid, tmp_path, caplog):
    cfg = tiny.write_experiment(tmp_path, minivid)
    settings = ("TRAIN.VALIDATE=0.25", "TRAIN.EARLY_STOP=1", "TRAIN.lr=1e-30", "TRAIN.end_epoch=9")  # nothing improves
    with caplog.at_level(logging.INFO):
        run_script(script("rfcn"), "--cfg", cfg, "--set", *settings)
    folder = tiny.training(tmp_path, "rfcn")
    lines = [json.loads(line) for line in (folder / "validations.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and "stopping early: no better mAP in 1 validations" in caplog.text
    assert {path.name for path in folder.glob("*.params")} == {"tiny-latest.params", "tiny-best.params"}
    caplog.clear()
    with caplog.at_level(logging.INFO):  # it has ended: nothing more is trained
        run_script(script("rfcn"), "--cfg", cfg, "--resume", "--set", *settings)
    assert "stopping early" in caplog.text and "images/s" not in caplog.text


def test_history(tmp_path):
    history = History(tmp_path / "h.jsonl", 2)
    history.cut(0)
    assert not history.over and history.better(-1.0)
    for step, value in enumerate((0.1, 0.3, 0.2, 0.3)):
        assert not history.over
        history.add(step, {"all": Interval(value, 0, 1)})
    assert history.over and 3 in history and not history.better(0.3) and history.better(0.31)
    again = History(tmp_path / "h.jsonl", 2)
    again.cut(2)
    assert not again.over and 3 not in again


def test_damaged_lines_of_the_validations_are_dropped_and_the_rest_kept(tmp_path, caplog):
    path = tmp_path / "validations.jsonl"
    history = History(path)
    history.add(1, {"all": Interval(0.5, 0, 1)})
    whole = path.read_bytes()
    bad = (b"\xff\x00\n", b"[]\n", b"7\n", b'{"step": 2}\n', b'{"step": 2, "map": {}}\n', b'{"step": "a", "map": 1}\n')
    path.write_bytes(b"".join((*bad, whole, b'{"step": 3, "m')))
    again = History(path)
    again.cut(9)
    assert path.read_bytes() == whole and 1 in again and 2 not in again and not again.better(0.5)
    assert "skipping 7 damaged lines" in caplog.text


def test_the_subset_is_fixed_and_balanced(minivid):
    classes = ClassList.of_dataset(minivid)
    truth = load_truth(minivid / "Annotations" / "VID", list_path(minivid, "VID_val_videos"), classes, motion=False)
    assert balanced(truth, 1) == balanced(truth, 1) and balanced(truth, 9) == truth.videos
    # 30 videos of class 1, two of class 2, one of class 3
    labels = np.array([1] * 30 + [2, 2, 3], np.int32)
    many = replace(
        truth,
        videos=[f"v{number:02d}" for number in range(33)],
        frame_ids=np.arange(33),
        frame_videos=np.arange(33, dtype=np.int32),
        object_starts=np.arange(34),
        classes=labels,
    )
    chosen = balanced(many, 6)
    assert {"v30", "v31", "v32"} <= set(chosen) and len(chosen) == 6 and chosen == sorted(chosen)


def test_a_settings_file_alone_runs_no_code(minivid, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "stranger.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\ndef log(*a): pass\n")
    cfg = tiny.write_experiment(tmp_path, minivid, TRAIN={"CALLBACK": "stranger:log"})
    line = refused(capsys, script("rfcn"), "--cfg", cfg)
    assert "TRAIN.CALLBACK: stranger:log would run code that the settings file names; add --allow-callback" in line
    assert not (tmp_path / "ran").exists() and "stranger" not in sys.modules


@pytest.mark.parametrize("name, message", [
    ("module", "is not MODULE:FUNCTION"),
    ("a;b:c", "is not MODULE:FUNCTION"),
    ("no_such_module_here:log", "cannot import no_such_module_here"),
    ("json:nothing", "json has no function nothing"),
    ("json:__doc__", "json has no function __doc__"),
])  # fmt: skip
def test_wrong_callbacks(name, message):
    with pytest.raises(InputError, match=message):
        callback(name, allowed=True)


def test_the_example_sends_figures_to_weights_and_biases(minivid, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tiny.ROOT / "experiments")
    logged = []
    wandb = types.ModuleType("wandb")
    wandb.run = None
    run = types.SimpleNamespace(
        log=lambda values, step: logged.append((step, values)), finish=lambda: logged.append("end")
    )

    def init(project):
        assert project == "fgfa" and wandb.run is None
        wandb.run = run
        return run

    wandb.init = init
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    cfg = tiny.write_experiment(tmp_path, minivid)
    argv = ("TRAIN.CALLBACK=wandb_callback:log", "TRAIN.VALIDATE=1", "TRAIN.end_epoch=1")
    run_script(script("rfcn"), "--cfg", cfg, "--allow-callback", "--set", *argv)
    assert logged[-1] == "end" and {"train/lr", "train/RCNNLogLoss"} <= logged[0][1].keys()
    assert "validate/mAP_all" in logged[-2][1]


@pytest.mark.parametrize("package", ["tensorboardX", "tensorboard"])
def test_tensorboard(minivid, tmp_path, package, monkeypatch):
    pytest.importorskip(package)
    if package == "tensorboard":
        pytest.importorskip("torch")
        from lib.training import reporters

        real = reporters.importlib.util.find_spec
        monkeypatch.setattr(
            reporters.importlib.util, "find_spec", lambda name: None if name == "tensorboardX" else real(name)
        )
    cfg = tiny.write_experiment(tmp_path, minivid)
    run_script(script("rfcn"), "--cfg", cfg, "--set", "TRAIN.TENSORBOARD=true", "TRAIN.VALIDATE=1")
    (events,) = (tiny.training(tmp_path, "rfcn") / "tensorboard").iterdir()
    content = events.read_bytes()
    tags = ("RPNLogLoss", "lr", "images_per_second", "gradient_norm")
    for tag in (*(f"train/{each}" for each in tags), "validate/mAP_slow", "validate/frame_0", "validate/frame_1"):
        assert tag.encode() in content, tag
    assert content.count(b"\x89PNG") == 4  # two videos, two validations


def test_no_writer_for_tensorboard(tmp_path, monkeypatch):
    from lib.training import reporters

    monkeypatch.setattr(reporters.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"TRAIN\.TENSORBOARD: no writer is installed; run pip install tensorboardX"):
        reporters.TensorBoard(tmp_path, 0)
