"""Contestants that take turns, each in its own process."""

from __future__ import annotations

import pytest

from bench import training_step
from bench.turns import Contestant, in_turns
from tests.conftest import needs


def test_contestants_take_turns(monkeypatch):
    needs("torch")
    contestant = Contestant("bench.training_step", "--alone", "torch", threads=1)
    try:
        taken = in_turns({"torch": contestant}, runs=2)["torch"]
    finally:
        contestant.stop()
    assert len(taken) == 2 and min(taken) > 0


def test_a_contestant_that_ends_early_is_an_error():
    contestant = Contestant("bench.training_step", "--alone", "nothing", threads=1)
    with pytest.raises(RuntimeError, match="ended with status 2"):
        contestant.turn()


def test_the_synthetic_batch_has_the_sizes_of_the_settings():
    cfg = training_step.load_config(training_step.METHOD.bundled.cfg, [], training_step.METHOD.schema)
    found = training_step.batch(cfg)
    assert found["data"].shape == (1, 3, *cfg.SCALES)
    assert found["label"].shape[1] * 4 == found["bbox_target"].size
