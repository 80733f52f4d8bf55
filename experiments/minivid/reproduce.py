"""Reproduces every MiniVID figure of the README: data, backbone, flow network, both methods, tables and plots.

Runs the commands that a user would run, one after another, and prints each. Steps whose results exist are skipped, so
an interrupted run can be continued. Tests are repeated if their settings or weights have changed, but trainings are
not: remove output/ and data/MiniVID after an update, or to start from scratch.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from lib.backends.base import ranges_path
from lib.cli.options import start_logging
from lib.config import load_config
from lib.errors import InputError, command
from lib.inference.evaluate import already_done
from lib.methods import METHODS

log = logging.getLogger(__name__)

CFGS = {name: method.bundled.cfg for name, method in METHODS.items()}
RFCN, FGFA = CFGS["rfcn"], CFGS["fgfa_rfcn"]
RESULTS = Path("output/minivid/results")
WINDOWS = (5, 2, 1, 0)  # K to test with, besides 9, with which the test after training runs


class Test(NamedTuple):
    """What the results of a test depend on: a method, overrides of its YAML file, weights."""

    method: str
    settings: list[str]
    weights: Path


class Step(NamedTuple):
    """A command, and the file that it writes if it succeeds.

    made_from: a file that must not be newer. test: for results of a test, what they depend on.
    """

    name: str
    arguments: list[str]
    output: Path
    made_from: Path | None = None
    test: Test | None = None

    def done(self) -> bool:
        """Whether the file exists and is up to date."""
        if not self.output.is_file():
            return False
        if self.made_from and self.made_from.is_file():
            return self.output.stat().st_mtime >= self.made_from.stat().st_mtime
        if self.test is None:
            return True
        method = METHODS[self.test.method]
        cfg = load_config(method.bundled.cfg, self.test.settings, method.schema)
        return already_done(self.output.parent, cfg, self.test.weights)


def _weights(method: str, name: str) -> Path:
    return Path("output", method, "MiniVID", name, f"VID_train_15frames/{_short(method)}_minivid-0001.params")


def _short(method: str) -> str:
    """The short name of a method in names of weights and results."""
    return Path(METHODS[method].bundled.weights).name.removesuffix("-0000.params")


WEIGHTS = {method: _weights(method, Path(cfg).stem) for method, cfg in CFGS.items()}
UNWARPED_WEIGHTS = _weights("fgfa_rfcn", "no_warp")


def steps() -> list[Step]:
    """All steps in order."""
    plan = [
        Step("data", ["-m", "lib.dataset.minivid", "--out", "data/MiniVID"], Path("data/MiniVID/minivid.json")),
        _pretrain("backbone", RFCN),
        _pretrain("flow", FGFA),
        _flow_error("before", Path("output/minivid/flow/flow-0000.params")),
        _train("rfcn", RESULTS / "rfcn"),
        _train("fgfa_rfcn", RESULTS / "fgfa_k9"),
        _train("fgfa_rfcn", RESULTS / "nowarp_k9", "no_warp", "TRAIN.WARP=false"),
    ]
    fgfa, unwarped = WEIGHTS["fgfa_rfcn"], UNWARPED_WEIGHTS
    for reach in WINDOWS:
        window = f"TEST.KEY_FRAME_INTERVAL={reach}"
        plan.append(_test("fgfa_rfcn", f"fgfa_k{reach}", fgfa, window))
        plan.append(_test("fgfa_rfcn", f"nowarp_k{reach}", unwarped, window, "TEST.WARP=false"))
    plan.append(_test("fgfa_rfcn", "mean_k9", fgfa, "TEST.WEIGHTS=mean"))
    for method in METHODS:
        name = _short(method)
        plan.append(_calibrate(method))
        plan.append(_test(method, f"{name}_int8", WEIGHTS[method], "TEST.PRECISION=int8"))
        plan.append(_test(method, f"{name}_bfloat16", WEIGHTS[method], "TEST.PRECISION=bfloat16_emulated"))
    for name in ("rfcn", "fgfa_k9"):
        plan.append(_seq_nms(name))
    plan.append(_flow_error("after", fgfa))
    plan.append(_flow_error("sharp", fgfa, "--sharp"))
    plan.append(Step("tables", ["experiments/minivid/report.py", str(RESULTS)], Path()))
    return plan


def _pretrain(stage: str, cfg: str) -> Step:
    arguments = ["experiments/minivid/pretrain.py", stage, "--cfg", cfg, "--resume"]
    return Step(stage, arguments, Path(f"output/minivid/{stage}/{stage}-0000.params"))


def _flow_error(when: str, weights: Path, *options: str) -> Step:
    out = RESULTS / f"flow_{when}.json"
    arguments = ["experiments/minivid/flow_error.py", "--cfg", FGFA, "--weights", str(weights), "--json", str(out)]
    return Step(f"flow error, {when}", [*arguments, *options], out, made_from=weights)


def _train(method: str, results: Path, name: str = "", *settings: str) -> Step:
    cfg = CFGS[method]
    script = f"experiments/{method}/{method}_end2end_train_test.py"
    arguments = [script, "--cfg", cfg, "--resume", "--output", str(results)]
    changed = [*settings, *(each.replace("TRAIN", "TEST") for each in settings)]
    if name:
        arguments += ["--name", name, "--set", *changed]
    test = Test(method, [*changed, "TRAIN.RESUME=true"], _weights(method, name or Path(cfg).stem))
    return Step(f"train {name or method}", arguments, results / "results.json", test=test)


def _test(method: str, name: str, weights: Path, *settings: str) -> Step:
    arguments = [f"experiments/{method}/{method}_test.py", "--cfg", CFGS[method], "--weights", str(weights)]
    arguments += ["--output", str(RESULTS / name), "--set", *settings]
    test = Test(method, list(settings), weights)
    return Step(f"test {name}", arguments, RESULTS / name / "results.json", test=test)


def _calibrate(method: str) -> Step:
    weights = WEIGHTS[method]
    arguments = [f"{method}/calibrate.py", "--cfg", CFGS[method], "--weights", str(weights)]
    return Step(f"calibrate {method}", arguments, ranges_path(weights), made_from=weights)


def _seq_nms(name: str) -> Step:
    out, detections = RESULTS / f"{name}_seqnms" / "results.json", RESULTS / name / "detections.txt"
    arguments = ["-m", "lib.eval.vid_map", "--detections", str(detections), "--seq-nms"]
    arguments += ["--annotations", "data/MiniVID/Annotations/VID", "--json", str(out)]
    arguments += ["--image-set", "data/MiniVID/ImageSets/VID_val_videos.txt", "--classes", "model/minivid/classes.txt"]
    return Step(f"Seq-NMS on {name}", arguments, out, made_from=detections)


@command
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the commands without running them")
    args = parser.parse_args(argv)
    start_logging()
    started = time.monotonic()
    for step in steps():
        command_line = f"python {' '.join(step.arguments)}"
        if args.list:
            log.info(command_line)
        elif step.done():
            log.info("%s: already done (%s)", step.name, step.output)
        else:
            step_started = time.monotonic()
            log.info("%s: %s", step.name, command_line)
            status = subprocess.run([sys.executable, *step.arguments], check=False).returncode
            if status:
                raise InputError(f"step {step.name} ended with status {status}; run the same command again to continue")
            log.info("%s: %.1f min, %.1f in total", step.name, *(_minutes(since) for since in (step_started, started)))


def _minutes(since: float) -> float:
    return (time.monotonic() - since) / 60


if __name__ == "__main__":
    main()
