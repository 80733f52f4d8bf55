"""The settings of the frame baseline: a YAML file can serve it and the flow methods."""

from __future__ import annotations

import pytest

from lib.config import leaves, load_config
from lib.methods import METHODS
from rfcn.settings import SCHEMA
from tests.tiny import ROOT


@pytest.mark.parametrize("name", METHODS)
def test_yaml_files_of_all_methods_load(name):
    assert {path for path, _ in leaves(METHODS[name].schema.tree)} <= {path for path, _ in leaves(SCHEMA.tree)}
    for path in sorted((ROOT / "experiments" / name / "cfgs").glob("*.yaml")):
        load_config(path, schema=SCHEMA)


def test_settings_without_effect():
    rfcn, fgfa = METHODS["rfcn"], METHODS["fgfa_rfcn"]
    assert fgfa.uses("TEST", "FLOW_HOP") and not rfcn.uses("TEST", "FLOW_HOP")
    assert rfcn.uses("TEST", "NMS") and not rfcn.uses("TEST", "nothing")
