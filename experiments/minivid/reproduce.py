"""Reproduces every MiniVID figure of the README: data, backbone, flow network, all methods, tables and plots.

Runs the commands that a user would run, and prints each. Steps that do not need each other run at the same time, as
many as --jobs says, each with its share of the cores; what they print goes to files in output/minivid/logs. Steps whose
results exist are skipped, so an interrupted run can be continued. Tests are repeated if their settings or weights have
changed, but trainings are not: remove output/ and data/MiniVID after an update, or to start from scratch.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from lib.argument import Parser, positive
from lib.backends.base import ranges_path
from lib.backends.choice import backend_of
from lib.config import load_config
from lib.errors import InputError, command, start_logging
from lib.inference.evaluate import already_done
from lib.machine import cores
from lib.methods import METHODS
from lib.variants import CHAINED, INTERVALS, KEYED, LIVE, SHORTER, WINDOWS, variant

log = logging.getLogger(__name__)

CFGS = {name: method.bundled.cfg for name, method in METHODS.items()}
RFCN, FGFA = CFGS["rfcn"], CFGS["fgfa_rfcn"]
PUBLISHED = variant("fgfa_k9")[1]
DEFAULT = "fgfa_k9_h3"  # what the YAML file of FGFA says, with which the test after training runs
FASTER = [
    "fgfa_k14",
    *(name for names in (*CHAINED.values(), *KEYED.values(), LIVE.values()) for name in names),
    SHORTER,
]
FASTER.remove(DEFAULT)


class Test(NamedTuple):
    """What the results of a test depend on: a method, overrides of its YAML file, weights."""

    method: str
    settings: list[str]
    weights: Path


class Step(NamedTuple):
    """A command, and the file that it writes if it succeeds.

    after: names of the steps whose files it needs. made_from: a file that must not be newer. test: for results of a
    test, what they depend on. alone: no other step runs at the same time, so it may use all cores.
    """

    name: str
    arguments: list[str]
    output: Path
    after: tuple[str, ...] = ()
    made_from: Path | None = None
    test: Test | None = None
    alone: bool = False

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


class Plan:
    """The steps with a backend. MXNet's results lie in output/, those of PyTorch in output/torch/."""

    def __init__(self, backend: str = "mxnet", bfloat16: bool = True):
        self.backend, self._bfloat16 = backend, bfloat16
        self.output = Path("output") if backend == "mxnet" else Path("output", backend)
        self.results = self.output / "minivid/results"
        self.settings: list[str] = []
        self._trained: dict[Path, str] = {}  # the step that trains them, by weights
        if backend != "mxnet":
            self.settings = [
                f"backend={backend}",
                f"output_path={self.output}",
                f"network.pretrained={self.output}/minivid/backbone/backbone",
                f"network.pretrained_flow={self.output}/minivid/flow/flow",
            ]
        self.weights = {method: self._weights(method, Path(cfg).stem) for method, cfg in CFGS.items()}
        self.unwarped = self._weights("fgfa_rfcn", "no_warp")

    def steps(self) -> list[Step]:
        """All steps in order."""
        results, fgfa = self.results, self.weights["fgfa_rfcn"]
        plan = [
            Step("data", ["-m", "lib.dataset.minivid", "--out", "data/MiniVID"], Path("data/MiniVID/minivid.json")),
            self._pretrain("flow", FGFA),  # takes longest
            self._pretrain("backbone", RFCN),
            self._flow_error("before", self.output / "minivid/flow/flow-0000.params", "flow"),
            self._train("rfcn", results / "rfcn"),
            self._train("fgfa_rfcn", results / DEFAULT),
            self._train("fgfa_rfcn", results / "nowarp_k9", "no_warp", "TRAIN.WARP=false"),
            self._train("dff_rfcn", results / "dff_i10"),
        ]
        for reach in reversed(WINDOWS):
            plan.append(self._variant(f"fgfa_k{reach}"))
            if reach != 9:  # with which the test after training runs
                window = f"TEST.KEY_FRAME_INTERVAL={reach}"
                plan.append(self._test("fgfa_rfcn", f"nowarp_k{reach}", self.unwarped, window, "TEST.WARP=false"))
        plan.append(self._test("fgfa_rfcn", "mean_k9", fgfa, *PUBLISHED, "TEST.WEIGHTS=mean"))
        intervals = [f"dff_i{interval}" for interval in INTERVALS if interval != 10]  # which is the test after training
        plan += [self._variant(name) for name in (*FASTER, *intervals)]
        if self.backend == "mxnet":
            for method in METHODS:
                plan += self._precisions(method)
        elif self._bfloat16:
            plan += self._bfloat16_steps()
        for name in ("rfcn", "fgfa_k9"):
            plan.append(self._seq_nms(name))
        plan.append(self._flow_error("after", fgfa, "train fgfa_rfcn"))
        plan.append(self._flow_error("sharp", fgfa, "train fgfa_rfcn", "--sharp"))
        report = ["experiments/minivid/report.py", str(results), "--backend", self.backend]
        report += [] if self._bfloat16 else ["--no-bfloat16"]
        plan.append(Step("tables", report, Path(), tuple(step.name for step in plan), alone=True))
        if self.backend == "mxnet":
            curve = ["-m", "bench.curve", str(results)]
            plan.append(Step("curve", curve, Path("docs/curve.json"), ("tables",), made_from=fgfa, alone=True))
        return plan

    def _weights(self, method: str, name: str) -> Path:
        return self.output / method / f"MiniVID/{name}/VID_train_15frames/{_short(method)}_minivid-0001.params"

    def _changed(self, *settings: str) -> list[str]:
        """Options of a command that change its YAML file."""
        both = [*self.settings, *settings]
        return ["--set", *both] if both else []

    def _pretrain(self, stage: str, cfg: str) -> Step:
        arguments = ["experiments/minivid/pretrain.py", stage, "--cfg", cfg, "--resume", *self._changed()]
        return Step(stage, arguments, self.output / f"minivid/{stage}/{stage}-0000.params", ("data",))

    def _flow_error(self, when: str, weights: Path, after: str, *options: str) -> Step:
        out = self.results / f"flow_{when}.json"
        arguments = ["experiments/minivid/flow_error.py", "--cfg", FGFA, "--weights", str(weights), "--json", str(out)]
        return Step(f"flow error, {when}", [*arguments, *options, *self._changed()], out, (after,), made_from=weights)

    def _train(
        self, method: str, results: Path, name: str = "", *settings: str, only_train: Sequence[str] = ()
    ) -> Step:
        """Training, then a test. settings: for both, as they are for TRAIN. only_train: not for the test."""
        cfg = CFGS[method]
        script = f"experiments/{method}/{method}_end2end_train_test.py"
        arguments = [script, "--cfg", cfg, "--resume", "--output", str(results)]
        if name:
            arguments += ["--name", name]
        changed = [*settings, *(each.replace("TRAIN", "TEST") for each in settings), *only_train]
        weights = self._weights(method, name or Path(cfg).stem)
        test = Test(method, [*self.settings, *changed, "TRAIN.RESUME=true"], weights)
        after = ("backbone",) if method == "rfcn" else ("backbone", "flow")
        self._trained[weights] = f"train {name or method}"
        arguments += self._changed(*changed)
        return Step(self._trained[weights], arguments, results / "results.json", after, test=test)

    def _test(self, method: str, name: str, weights: Path, *settings: str, after: tuple[str, ...] = ()) -> Step:
        arguments = [f"experiments/{method}/{method}_test.py", "--cfg", CFGS[method], "--weights", str(weights)]
        arguments += ["--output", str(self.results / name), *self._changed(*settings)]
        test = Test(method, [*self.settings, *settings], weights)
        after = after or (self._trained[weights],)
        return Step(f"test {name}", arguments, self.results / name / "results.json", after, test=test)

    def _variant(self, name: str) -> Step:
        """A test with the settings that the name says."""
        method, settings = variant(name)
        return self._test(method.name, name, self.weights[method.name], *settings)

    def _precisions(self, method: str) -> list[Step]:
        """int8, which only MXNet has, and bfloat16 as any processor can emulate it with MXNet."""
        weights, name = self.weights[method], _short(method)
        arguments = [f"{method}/calibrate.py", "--cfg", CFGS[method], "--weights", str(weights)]
        return [
            Step(f"calibrate {method}", arguments, ranges_path(weights), (self._trained[weights],), made_from=weights),
            self._test(method, f"{name}_int8", weights, "TEST.PRECISION=int8", after=(f"calibrate {method}",)),
            self._test(method, f"{name}_bfloat16", weights, "TEST.PRECISION=bfloat16_emulated"),
        ]

    def _bfloat16_steps(self) -> list[Step]:
        """Testing in bfloat16, and testing in float32 after training in bfloat16."""
        methods = ("rfcn", "fgfa_rfcn")
        tests = [
            self._test(method, f"{_short(method)}_bfloat16", self.weights[method], "TEST.PRECISION=bfloat16")
            for method in methods
        ]
        trainings = [
            self._train(
                method,
                self.results / f"{_short(method)}_trained_bfloat16",
                "bfloat16",
                only_train=["TRAIN.PRECISION=bfloat16"],
            )
            for method in methods
        ]
        return tests + trainings

    def _seq_nms(self, name: str) -> Step:
        out, detections = self.results / f"{name}_seqnms" / "results.json", self.results / name / "detections.txt"
        arguments = ["-m", "lib.eval.vid_map", "--detections", str(detections), "--seq-nms"]
        arguments += ["--annotations", "data/MiniVID/Annotations/VID", "--json", str(out)]
        arguments += ["--image-set", "data/MiniVID/ImageSets/VID_val_videos.txt"]
        arguments += ["--classes", "model/minivid/classes.txt"]
        after = f"train {name}" if name in METHODS else f"test {name}"
        return Step(f"Seq-NMS on {name}", arguments, out, (after,), made_from=detections)


def _short(method: str) -> str:
    """The short name of a method in names of weights and results."""
    return Path(METHODS[method].bundled.weights).name.removesuffix("-0000.params")


def run(steps: Sequence[Step], jobs: int, logs: Path) -> None:
    """Runs the steps that are not done, `jobs` at a time, each after those it needs. Raises InputError if one fails."""
    started, plan = time.monotonic(), {step.name: step for step in steps}
    order = TopologicalSorter({step.name: step.after for step in steps})
    order.prepare()
    running: dict[Future, str] = {}
    ended = 0
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while order.is_active():
                ready = order.get_ready()
                running.update({pool.submit(_run_step, plan[name], jobs, logs): name for name in ready})
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    order.done(running.pop(future))
                    ended += 1
                    log.info("%d of %d steps ended, after %.1f min", ended, len(steps), _minutes(started))
        except BaseException as error:
            going_on = [name for future, name in running.items() if not (future.cancel() or future.done())]
            if going_on:
                log.info("%s; waiting for: %s", error or "stopped", ", ".join(going_on))
            raise


def _run_step(step: Step, jobs: int, logs: Path) -> None:
    if step.done():
        log.info("%s: already done (%s)", step.name, step.output)
        return
    started, line, advice = time.monotonic(), f"python {' '.join(step.arguments)}", ""
    threads = cores() if step.alone else max(cores() // jobs, 1)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    with contextlib.ExitStack() as opened:
        printed = None
        if jobs > 1:
            logs.mkdir(parents=True, exist_ok=True)
            path = logs / f"{re.sub('[^A-Za-z0-9_-]+', '_', step.name)}.log"
            printed = opened.enter_context(path.open("wb"))
            line, advice = f"{line} > {path}", f"see {path}, and "
        log.info("%s: %s", step.name, line)
        status = subprocess.run(
            [sys.executable, *step.arguments], check=False, env=environment, stdout=printed, stderr=printed
        ).returncode
    if status:
        raise InputError(f"step {step.name} ended with status {status}; {advice}run the same command again to continue")
    log.info("%s: done in %.1f min", step.name, _minutes(started))


def _minutes(since: float) -> float:
    return (time.monotonic() - since) / 60


@command
def main(argv: list[str] | None = None) -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the commands without running them")
    parser.add_argument(
        "--backend", choices=("mxnet", "torch"), default="mxnet", help="what trains and tests (default: %(default)s)"
    )
    parser.add_argument(
        "--no-bfloat16",
        action="store_true",
        help="with --backend torch: leave bfloat16 out, which needs AVX-512 or a GPU",
    )
    parser.add_argument(
        "--jobs",
        type=positive,
        default=min(cores(), 4),
        help="steps that run at the same time; with 1, they print to the terminal (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    start_logging()
    plan = Plan(args.backend, not args.no_bfloat16)
    found = backend_of(load_config(RFCN, plan.settings, METHODS["rfcn"].schema)).name
    if found != args.backend:
        raise InputError(
            f"--backend: {args.backend} is not installed in this Python, but {found} is; use --backend {found}"
        )
    if args.list:
        for step in plan.steps():
            log.info("python %s", " ".join(step.arguments))
    else:
        run(plan.steps(), args.jobs, plan.output / "minivid/logs")


if __name__ == "__main__":
    main()
