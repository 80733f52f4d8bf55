"""The registry: every method provides what a method must, and a new one is a folder and a line."""

from __future__ import annotations

import sys
import textwrap

import pytest

from lib import methods
from lib.cli import inspection
from lib.cli.demo import run_demo
from lib.cli.experiment import train_and_test
from lib.config import load_config
from lib.errors import InputError
from lib.methods import METHODS, method_named, method_of
from tests import tiny
from tests.tiny import ROOT


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_its_files(name):
    method = METHODS[name]
    assert method.name == name
    for files in (method.bundled, method.published):
        assert load_config(ROOT / files.cfg, schema=method.schema)
        assert method_of(ROOT / files.cfg) is method
    assert (ROOT / method.bundled.weights).is_file()
    for script in ("demo.py", "demo_batch.py", "calibrate.py", "export.py"):
        assert (ROOT / name / script).is_file()
    for script in (f"{name}_end2end_train_test.py", f"{name}_test.py"):
        assert (ROOT / "experiments" / name / script).is_file()


def test_a_method_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="--method os: unknown method; choose from rfcn, fgfa_rfcn, dff_rfcn"):
        method_named("os", "--method")
    with pytest.raises(InputError, match=r"not in experiments/<method>/cfgs; specify its method with --method"):
        method_of(tmp_path / "a.yaml")


# A method of its own: R-FCN whose features are halved, with a setting.
METHOD = """
from dataclasses import replace

from lib.defaults import Key
from lib.nets.detection import backbone, training_losses
from rfcn import network
from rfcn.detector import FrameDetector
from rfcn.method import METHOD as RFCN

SCHEMA = RFCN.detector.schema.extended({"TEST": {"SHARE": Key(0.5, "Share of the features that counts.")}})


def losses(F, cfg):
    return training_losses(F, backbone(F, F.Variable("data"), cfg, network.EPS) * cfg.TEST.SHARE, cfg)


class HalfDetector(FrameDetector):
    schema = SCHEMA


METHOD = replace(RFCN, name="half_rfcn", title="Half R-FCN", losses=losses, detector=HalfDetector)
"""


@pytest.fixture
def half(tmp_path, monkeypatch):
    """The method half_rfcn, in a folder of its own and in the registry."""
    package = tmp_path / "packages" / "half_rfcn"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "method.py").write_text(textwrap.dedent(METHOD))
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "half_rfcn", raising=False)
    from half_rfcn.method import METHOD as half

    monkeypatch.setitem(methods.METHODS, half.name, half)  # the line in the registry
    return half


def test_a_new_method_trains_tests_detects_and_is_inspected(half, minivid, tmp_path, capsys):
    folder = tmp_path / "experiments" / "half_rfcn" / "cfgs"
    folder.mkdir(parents=True)
    cfg = tiny.write_experiment(
        folder, minivid, "half_rfcn", TRAIN={"end_epoch": 1}, TEST={"SHARE": 0.25, "test_epoch": 1}
    )
    assert method_of(cfg) is half
    train_and_test(["--cfg", str(cfg)], half)
    (results,) = folder.glob("output/half_rfcn/*/*/VID_val_videos/results.json")
    (weights,) = folder.glob("output/half_rfcn/*/*/*/tiny-0001.params")
    assert '"SHARE": 0.25' in results.read_text()

    options = ["--cfg", str(cfg), "--weights", str(weights), "--threshold", "0", "--frames", "0:2"]
    run_demo([*options, "--output", str(tmp_path / "out")], half)
    assert len((tmp_path / "out/detections.jsonl").read_text().splitlines()) == 2

    text, fits = inspection.report(weights, inspection.networks([cfg]), listing=False)
    assert fits and "fits the detector of half_rfcn" in text
    with pytest.raises(SystemExit):
        train_and_test(["--cfg", str(cfg), "--set", "TEST.SHRAE=0.1"], half)
    assert "unknown key TEST.SHRAE; did you mean TEST.SHARE?" in capsys.readouterr().err
