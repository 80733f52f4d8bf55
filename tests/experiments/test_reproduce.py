"""The plan of `make reproduce`: it makes all that its report reads, and skips results only if they are up to date."""

from __future__ import annotations

import graphlib
import json
import os
import runpy

import pytest

from lib.config import load_config
from lib.errors import InputError
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


def test_each_step_comes_after_those_whose_files_it_needs(reproduce):
    for backend in ("mxnet", "torch"):
        plan = reproduce["Plan"](backend)
        steps = {step.name: step for step in plan.steps()}
        made = {str(step.output): name for name, step in steps.items()}
        made |= {str(weights): name for weights, name in plan._trained.items()}
        order = list(graphlib.TopologicalSorter({name: step.after for name, step in steps.items()}).static_order())
        last = ["tables", "curve"] if backend == "mxnet" else ["tables"]
        assert sorted(order) == sorted(steps) and order[0] == "data" and order[-len(last) :] == last
        assert [name for name in order if steps[name].alone] == last
        for step in steps.values():
            before = {name for name in order if name in _all_before(steps, step.name)}
            needed = {made[path] for path in step.arguments if path in made and made[path] != step.name}
            assert needed <= before, step.name


def _all_before(steps, name):
    return {name for each in steps[name].after for name in (each, *_all_before(steps, each))}


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_steps_run_in_order_and_once(reproduce, tmp_path, jobs):
    def step(name, *after, code="pass"):
        code = f"{code}; open({str(tmp_path / 'order')!r}, 'a').write({name!r}); open({str(tmp_path / name)!r}, 'w')"
        return reproduce["Step"](name, ["-c", code], tmp_path / name, after)

    steps = [step("a"), step("b", code="import time; time.sleep(0.2)"), step("c", "a"), step("d", "b", "c")]
    reproduce["run"](steps, jobs, tmp_path / "logs")
    order = (tmp_path / "order").read_text()
    assert sorted(order) == list("abcd") and order.index("a") < order.index("c") and order.endswith("d")
    reproduce["run"](steps, jobs, tmp_path / "logs")
    assert (tmp_path / "order").read_text() == order
    assert (tmp_path / "logs").exists() == (jobs > 1)


def test_a_failed_step_ends_the_run_and_keeps_what_it_printed(reproduce, tmp_path):
    def step(name, code, *after):
        return reproduce["Step"](name, ["-c", code], tmp_path / name, after)

    steps = [
        step("bad, one", "print('because'); exit(3)"),
        step("long", f"import time; time.sleep(0.5); open({str(tmp_path / 'long')!r}, 'w')"),
        *(step(f"queued {number}", f"open({str(tmp_path / 'queued')!r}, 'w')", "long") for number in range(3)),
    ]
    with pytest.raises(InputError, match=r"step bad, one ended with status 3; see .*bad_one.log, and run the same"):
        reproduce["run"](steps, 2, tmp_path / "logs")
    assert (tmp_path / "logs/bad_one.log").read_text() == "because\n"
    assert (tmp_path / "long").exists() and not (tmp_path / "queued").exists()
