"""Runs the compiled parts under the address and undefined-behaviour sanitizers.

    python -m tests.reliability.sanitize

Builds the C++ operators and, with bounds checks, the Cython modules in a copy of the checkout, and runs the tests and
the fuzzer's quick commands there. Needs gcc with its sanitizers. Exit status 1 if anything fails.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from lib.machine import cores
from lib.ops.build import compiler

ROOT = Path(__file__).parents[2]
# `target_clones` selects code by processor before the sanitizers are ready, so only one copy is compiled.
FLAGS = (
    "-g -O1 -ffp-contract=off -fno-omit-frame-pointer -fsanitize=address,undefined,float-cast-overflow "
    "-fno-sanitize-recover=all -DFGFA_ONE_TARGET"
)
# They install, start a browser or nvcc, which do not start with a preloaded sanitizer, test the builds that this one
# replaces, or measure memory, of which sanitizers take more.
LEFT_OUT = (
    *("tests/install", "tests/docs", "tests/eval/test_report.py", "tests/cli/test_report_page.py"),
    *("tests/ops/test_build.py", "tests/ops/test_nvrtc.py"),
    *("tests/test_fuzz.py", "tests/fgfa_rfcn/test_window.py::test_memory_does_not_grow_with_the_clip"),
)


def main() -> int:
    """Builds the copy and runs everything; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=min(cores(), 2), help="processes of the tests (default: cores)")
    parser.add_argument("--cases", type=int, default=1000, help="cases of the fuzzer (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the fuzzer (default: %(default)s)")
    parser.add_argument("tests", nargs="*", help="the tests (default: all but those that cannot run there)")
    args = parser.parse_args()
    tests = args.tests or ["tests", *(f"--deselect={path}" for path in LEFT_OUT)]
    with tempfile.TemporaryDirectory(prefix="sanitize-") as name:
        environment = _build(Path(name))
        failed = False
        for command in (
            ["pytest", "-q", "-p", "no:cacheprovider", f"--numprocesses={args.workers}", "--dist=worksteal", *tests],
            ["tests.fuzz", f"-n={args.cases}", f"--seed={args.seed}", "--slow=0"],
        ):
            print(shlex.join(command), flush=True)
            failed |= subprocess.run([sys.executable, "-m", *command], cwd=name, env=environment).returncode != 0
    return int(failed)


def _build(folder: Path) -> dict[str, str]:
    """Copies the tracked files to the folder, builds the compiled parts there, and returns what a process needs."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["xargs", "-0", "cp", "--parents", "-t", folder], cwd=ROOT, input=files, check=True)
    compilers = {"CC": "gcc", "CXX": compiler()}
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    for variable, path in compilers.items():
        script = folder / f"sanitizing-{variable.lower()}"
        script.write_text(f'#!/bin/sh\nexec {path} "$@" {FLAGS}\n')
        script.chmod(0o755)
        environment[variable] = str(script)
    modules = [str(path.relative_to(folder)) for path in sorted(folder.glob("lib/**/*.pyx"))]
    directives = ("language_level=3", "boundscheck=True", "wraparound=False", "cdivision=True")
    cythonize = ["Cython.Build.Cythonize", "--quiet", "--inplace", *(f"-X{each}" for each in directives), *modules]
    for command in (cythonize, ["lib.ops.build"]):
        subprocess.run([sys.executable, "-m", *command], cwd=folder, env=environment, check=True)
    libraries = [_library(each) for each in ("libasan.so", "libubsan.so", "libstdc++.so.6")]
    # Python itself is built without them, and keeps memory until it ends. A fault ends a process by a signal.
    options = {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1", "UBSAN_OPTIONS": "abort_on_error=1"}
    return {**environment, **options, "LD_PRELOAD": " ".join(libraries)}


def _library(name: str) -> str:
    found = subprocess.run([compiler(), f"-print-file-name={name}"], check=True, capture_output=True, text=True)
    return str(Path(found.stdout.strip()).resolve())


if __name__ == "__main__":
    sys.exit(main())
