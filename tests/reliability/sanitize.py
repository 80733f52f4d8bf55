"""Runs the compiled parts under the address and undefined-behaviour sanitizers.

    python -m tests.reliability.sanitize

The C++ kernels run on the edge cases of `lib/ops/src/sanitize_driver.cc`. The Cython modules are built with bounds
checks in a copy of the checkout, where their tests run. Needs g++ with its sanitizers. Exit status 1 if either fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from lib.ops.build import build_sanitized, compiler

ROOT = Path(__file__).parents[2]
# A browser does not start with the sanitizers in every process.
TESTS = ("tests/nms", "tests/bbox", "tests/eval", "--ignore=tests/eval/test_report.py")
COPIED = ("lib", "tests", "bench", "rfcn", "fgfa_rfcn", "dff_rfcn", "experiments", "pyproject.toml")
BUILD = """
from pathlib import Path
from Cython.Build import cythonize
from setuptools import Extension, setup

flags = ["-O1", "-g", "-ffp-contract=off", "-fno-omit-frame-pointer", "-fsanitize=address,undefined",
         "-fno-sanitize-recover=all"]
extensions = [
    Extension(".".join(source.with_suffix("").parts), [str(source)], extra_compile_args=flags, extra_link_args=flags)
    for source in sorted(Path("lib").rglob("*.pyx"))
]
directives = {"language_level": 3, "boundscheck": True, "wraparound": False, "cdivision": True}
modules = cythonize(extensions, compiler_directives=directives)
setup(name="sanitized", packages=[], py_modules=[], ext_modules=modules, script_args=["-q", "build_ext", "--inplace"])
"""


def kernels() -> int:
    """The exit status of the driver of the C++ kernels."""
    return subprocess.run([str(build_sanitized())], check=False).returncode


def cython() -> int:
    """The exit status of the tests of the Cython modules."""
    with tempfile.TemporaryDirectory(prefix="sanitize-") as name:
        files = subprocess.run(["git", "ls-files", "-z", *COPIED], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["xargs", "-0", "cp", "--parents", "-t", name], cwd=ROOT, input=files, check=True)
        subprocess.run([sys.executable, "-c", BUILD], cwd=name, check=True)
        libraries = [_library(each) for each in ("libasan.so", "libubsan.so", "libstdc++.so.6")]
        environment = {
            **os.environ,
            "LD_PRELOAD": " ".join(libraries),  # Python itself is built without them
            "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter keeps memory until it ends
            "PYTHONPATH": name,
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
        return subprocess.run(command, cwd=name, env=environment, check=False).returncode


def _library(name: str) -> str:
    found = subprocess.run([compiler(), f"-print-file-name={name}"], check=True, capture_output=True, text=True)
    return str(Path(found.stdout.strip()).resolve())


if __name__ == "__main__":
    sys.exit(int(bool(kernels() | cython())))
