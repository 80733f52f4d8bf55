"""The end-point errors that experiments/minivid/flow_error.py reports, with the bundled weights."""

from __future__ import annotations

import pytest

from lib.config import load_config
from lib.errors import InputError
from lib.methods import METHODS
from lib.minivid.pretrain_flow import flow_errors
from lib.minivid.settings import Settings
from lib.nets.params import load


def test_the_flow_network_is_better_than_no_flow(tmp_path):
    method = METHODS["fgfa_rfcn"]
    cfg = load_config(method.bundled.cfg, [f"dataset.dataset_path={tmp_path}"], method.schema)
    Settings().write(tmp_path)
    errors = flow_errors(cfg, load(method.bundled.weights)[0], clips=4, pairs=1)
    assert list(errors) == ["1", "4", "9"]
    for found in errors.values():
        assert 0 < found["epe"] < found["zero"]


def test_what_cannot_be_measured_is_refused(tmp_path):
    method = METHODS["fgfa_rfcn"]
    cfg = load_config(method.bundled.cfg, [f"dataset.dataset_path={tmp_path}"], method.schema)
    args = load(method.bundled.weights)[0]
    Settings(frames=9).write(tmp_path)
    with pytest.raises(InputError, match="of 9 frames, but clips of more than 9 are needed"):
        flow_errors(cfg, args)
    Settings(height=64, width=64).write(tmp_path)
    with pytest.raises(InputError, match="the flow network: weights of another network"):
        flow_errors(cfg, {name: value[:1] for name, value in args.items()})
    with pytest.raises(InputError, match="not finite"):
        flow_errors(cfg, {name: value * 1e30 for name, value in args.items()}, clips=1, pairs=1)
