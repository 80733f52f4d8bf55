"""The arithmetic of `bench.scaling`, and its measurement with two processes."""

from __future__ import annotations

import pytest

from bench import scaling
from tests.tiny import BACKEND


def test_all_reduce_by_hand():
    assert scaling.all_reduce(400_000_000, 1, 10) == 0
    assert scaling.all_reduce(400_000_000, 2, 10) == pytest.approx(0.32)  # 3.2 Gbit
    assert scaling.all_reduce(400_000_000, 64, 100) == pytest.approx(0.063)


def test_efficiency_on_paper(capsys):
    rows = {found["gpus"]: found for found in scaling.paper(0.32, 400_000_000)}
    assert rows[2]["10/1"] == pytest.approx(0.5) and rows[8]["10/8"] == 1
    assert rows[16]["10/8"] == rows[2]["10/1"]
    assert "| 2 | 320 ms, 50% |" in capsys.readouterr().out


def test_two_processes(capsys):
    (found,) = scaling.loopback(BACKEND, [2], 1)
    assert found["alone"] > 0 and found["together"] == pytest.approx(found["alone"] + found["overhead"])
    assert capsys.readouterr().out.splitlines()[-1].startswith("| 2 | ")
