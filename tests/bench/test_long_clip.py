from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bench import long_clip
from tests.tiny import ROOT


def test_memory_does_not_grow_with_the_film():
    """With fewer frames than when it is called by hand, and less growth; it ends with status 1 where memory grows."""
    command = [sys.executable, "-m", "bench.long_clip", "--frames", "600", "--settled", "200", "--growth", "2"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr[-2000:]
    assert "\n600 frames in " in ran.stdout


def test_growing_memory_is_seen():
    """3 kB a frame, behind a start that took more for a while."""
    finished = np.repeat(np.arange(1001), 3)
    memory = 300 + 0.003 * finished + np.where(finished < 50, 90, 0)
    text, growth = long_clip.report(finished, memory, 1000, 300)
    assert growth == pytest.approx(0.003 * 700)
    assert text.splitlines()[-1] == "| 1,000 | 303.0 |" and len(text.splitlines()) == 12
