"""The fuzzer: it knows every command, it finds what it looks for, and a few hundred cases end as promised."""

from __future__ import annotations

import faulthandler
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from bench.turns import memory
from tests.conftest import needs
from tests.fuzz.case import faults, run
from tests.fuzz.targets import METHODS, NOT_FUZZED, STARTED_BY, TARGETS, Target
from tests.tiny import ROOT

FOLDERS = ("lib", "experiments", "bench", "rfcn", "fgfa_rfcn", "dff_rfcn")


def test_every_command_is_fuzzed():
    sources = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    commands = {
        str(path.relative_to(ROOT)) for path in sources if re.search(r"^ *@command$", path.read_text(), re.MULTILINE)
    }
    fuzzed = {target.file for target in TARGETS}
    missing = {path for path in commands if STARTED_BY.get(path, path) not in fuzzed}
    assert missing == set(NOT_FUZZED), "add a target to tests/fuzz/targets.py"
    assert set(STARTED_BY) <= commands


def test_every_program_is_a_command():
    """Else its errors have tracebacks, as has a closed pipe of its output."""
    programs = {
        str(path.relative_to(ROOT))
        for folder in ("lib", "experiments")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"^(?<!@command\n)def main\(", path.read_text(), re.MULTILINE)
    }
    scripts = {f"experiments/{m}/{m}_{what}.py" for m in METHODS for what in ("test", "end2end_train_test")}
    assert programs == {"lib/install.py"} | scripts  # the scripts call commands of lib.cli.experiment


def test_three_hundred_cases(tmp_path):
    """As `make fuzz N=300` with few networks, which take most of the time."""
    for package in ("onnx", "onnxruntime", "pycocotools"):
        needs(package)
    command = [sys.executable, "-m", "tests.fuzz", "-n", "300", "--seed", "0", "--slow", "0.02"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert re.search(r"^300 cases, 0 failures", done.stdout, re.MULTILINE)
    clear, success = map(int, re.search(r"^all +(\d+) +(\d+)", done.stdout, re.MULTILINE).groups())
    assert clear > 100 and success > 30  # neither is the damage harmless nor does everything fail


ENDS = {
    "1 / 0": "traceback",
    "os.kill(os.getpid(), 11)": "crash",
    "time.sleep(999)": "hang",
    "b'x' * (5 * 2**28)": "memory",
    "print('error: a'); print('error: b'); sys.exit(2)": "several lines",
    "open('here.txt', 'w')": "outside",
    "os.mkdir('out'); open('out/x.json', 'w').write('[NaN]')": "wrong success",
    "sys.stderr.write('error: x\\n'); sys.exit(2)": "clear error",
    "os.mkdir('out'); open('out/x.json', 'w').write('[1]')": "success",
}


@pytest.mark.parametrize("code, kind", ENDS.items())
def test_verdicts(tmp_path, monkeypatch, code, kind):
    monkeypatch.setattr("tests.fuzz.case.SECONDS", 30 if kind != "hang" else 2)
    mine = memory("VmRSS")  # a forked child starts with it
    monkeypatch.setattr("tests.fuzz.case.MEMORY", mine + 2**30)
    script = tmp_path / "script.py"
    script.write_text(f"import os, sys, time\n\n\ndef main(argv):\n    {code}\n")
    target = Target("x", str(script), "", (), ())
    verdict, _ = run(target, tmp_path, tmp_path / "work" / "case", "0")
    assert verdict.kind == kind, verdict


def test_outputs_that_crash_their_reader(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("def main(argv):\n    pass\n")

    def crash(case):
        faulthandler.disable()  # which would print a traceback
        os.kill(os.getpid(), 11)

    target = Target("x", str(script), "", (), (), check=crash)
    verdict, _ = run(target, tmp_path, tmp_path / "work" / "case", "0")
    assert (verdict.kind, verdict.detail) == ("crash", "SIGSEGV in reading the outputs")


def test_outputs_are_checked(tmp_path):
    assert faults(tmp_path) == ""
    np.savez(tmp_path / "a.npz", a=np.array([np.nan]))
    assert "a is not finite" in faults(tmp_path)
    (tmp_path / "d.csv").write_text("a,b\n1,nan\n")
    assert "d.csv: a row is not whole and finite" in faults(tmp_path / "d.csv")


def test_what_a_resumed_command_wrote_is_checked(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("def main(argv):\n    open('in/earlier.json', 'w').write('[NaN]')\n")
    target = Target("x", str(script), "", (), (), writes=("in/earlier.json",), resumed=("in/*.json",))
    verdict, _ = run(target, tmp_path, tmp_path / "work" / "case", "0")
    assert verdict.kind == "wrong success" and "NaN" in verdict.detail
