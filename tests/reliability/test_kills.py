"""Some kills and a few full disks; `make kill-test` and `make disk-test` run more."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.reliability.cases import TOGETHER
from tests.reliability.disks import unavailable
from tests.tiny import BACKEND, ROOT


def run(*command: str) -> str:
    done = subprocess.run([*command], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_killed_commands_lose_nothing():
    together = f"train by {TOGETHER[BACKEND][0]}"
    only = ("train rfcn", "test", "demo", "import", "lists", "evaluation", together)
    text = run(sys.executable, "-m", "tests.reliability.kills", "--trials", "13", "--seed", "3", "--only", *only)
    assert "all                    13/13" in text


def test_full_disks_lose_nothing():
    if unavailable():
        pytest.skip(f"a small tmpfs cannot be mounted: {unavailable()}")
    python = (sys.executable, "-m", "tests.reliability.disks", "--trials", "4", "--only", "import", "demo")
    assert "all                     4/4" in run("unshare", "--user", "--map-root-user", "--mount", *python)
