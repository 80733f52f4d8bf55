"""Training that starts in one backend and is resumed in the other equals one that stayed in the first."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lib.config import load_config
from lib.methods import METHODS
from lib.nets.params import load
from lib.training.checkpoints import Checkpoints
from lib.training.fit import Interrupted
from lib.training.train import train
from tests import tiny
from tests.conftest import needs

METHOD = METHODS["fgfa_rfcn"]
STEPS = 18  # of each of two epochs
CHANGES = {"TRAIN": {"MIN_OFFSET": -1, "MAX_OFFSET": 1, "CLIP_GRADIENT": 1.0, "FLOW_LR_FACTOR": 0.1}}


@pytest.mark.parametrize("first, second", [("mxnet", "torch"), ("torch", "mxnet")])
def test_resumed_in_the_other_backend(first, second, minivid, tmp_path):
    needs("mxnet")
    needs("torch")
    path = tiny.write_experiment(tmp_path, minivid, "fgfa_rfcn", **CHANGES)

    def run(backend, folder, *overrides, stopped=None):
        cfg = load_config(path, [f"backend={backend}", "default.frequent=1", *overrides], METHOD.schema)
        return train(cfg, METHOD, tmp_path / folder, stopped=stopped)

    expected = load(run(first, "whole"))
    with pytest.raises(Interrupted):
        run(first, "parts", stopped=tiny.After(STEPS // 2))
    assert Checkpoints(tmp_path / "parts" / "tiny").newest().step == STEPS // 2
    found = load(run(second, "parts", "TRAIN.RESUME=true"))
    for part, wanted in zip(found, expected):
        assert part.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_allclose(part[name], value, rtol=1e-4, atol=1e-4 * np.abs(value).max(), err_msg=name)
    lines = [
        [json.loads(line)["losses"] for line in (tmp_path / folder / "losses.jsonl").read_text().splitlines()]
        for folder in ("parts", "whole")
    ]
    assert len(lines[0]) == len(lines[1]) == 2 * STEPS
    for after, whole in zip(*lines):
        assert after == pytest.approx(whole, rel=1e-4, abs=1e-6)
