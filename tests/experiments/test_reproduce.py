"""The plan of `make reproduce`: it makes all that its report reads, and skips results only if they are up to date."""

from __future__ import annotations

import json
import os
import runpy

import pytest

from lib.config import load_config
from lib.files import sha256
from lib.methods import METHODS
from lib.nets import params
from lib.settings import plain
from tests.tiny import ROOT


@pytest.fixture
def reproduce():
    return runpy.run_path(str(ROOT / "experiments/minivid/reproduce.py"))


@pytest.mark.parametrize("backend", ["mxnet", "torch"])
def test_the_plan_makes_what_the_report_reads(reproduce, backend):
    report = runpy.run_path(str(ROOT / "experiments/minivid/report.py"))
    plan = reproduce["Plan"](backend)
    made = {step.output.relative_to(plan.results).parts[0] for step in plan.steps()
            if plan.results in step.output.parents}  # fmt: skip
    compared = [*report["CLAIMS"], *report["MXNET_CLAIMS" if backend == "mxnet" else "TORCH_CLAIMS"]]
    read = {*report["METHODS"].values(), *(name for _, *pair in compared for name in pair), "rfcn_seqnms"}
    read |= {f"{variant}_k{reach}" for variant in report["VARIANTS"] for reach in report["WINDOWS"]}
    read |= {f"dff_i{interval}" for interval in report["INTERVALS"]}
    read |= {name for pair in report["FASTER"].items() for name in pair}
    assert made == read | {f"flow_{when}.json" for when in ("before", "after", "sharp")}


def test_each_step_is_a_script_that_is_there_and_leaves_its_own_file(reproduce):
    steps = [*reproduce["Plan"]().steps(), *reproduce["Plan"]("torch").steps()]
    for step in steps:
        script, *module = step.arguments[:2]
        path = ROOT / (module[0].replace(".", "/") if script == "-m" else script)
        assert path.exists() or path.with_suffix(".py").exists(), step.arguments
    left = [step.output for step in steps if step.name not in ("data", "tables")]
    assert len(set(left)) == len(left)


def test_results_of_other_weights_or_settings_are_not_done(reproduce, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    weights, output = tmp_path / "a-0001.params", tmp_path / "results.json"
    params.save(weights, {}, {})
    settings = ["TEST.KEY_FRAME_INTERVAL=5"]

    def step(*more):
        test = reproduce["Test"]("fgfa_rfcn", [*settings, *more], weights)
        return reproduce["Step"]("test", [], output, test=test)

    assert not step().done()
    config = plain(load_config(reproduce["FGFA"], settings, METHODS["fgfa_rfcn"].schema))
    output.write_text(json.dumps({"manifest": {"config": config, "weights": {"sha256": sha256(weights)}}}))
    assert step().done()
    assert not step("TEST.NMS=0.4").done()
    weights.write_bytes(weights.read_bytes() + b"\0")
    assert not step().done()


def test_what_is_older_than_what_it_is_made_from_is_not_done(reproduce, tmp_path):
    weights, output = tmp_path / "a-0001.params", tmp_path / "a-0001.int8.json"
    step = reproduce["Step"]("calibrate", [], output, made_from=weights)
    assert not step.done()
    for path in (weights, output):
        path.write_text("")
    os.utime(weights, (1000, 1000))
    assert step.done()
    os.utime(output, (999, 999))
    assert not step.done()
