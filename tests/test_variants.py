"""Names of methods with settings."""

from __future__ import annotations

import pytest

from lib.config import load_config
from lib.errors import InputError
from lib.variants import CHAINED, KEYED, LIVE, SHORTER, variant
from tests.tiny import ROOT


def test_names():
    method, settings = variant("fgfa_k9_h3_d5_short")
    assert method.name == "fgfa_rfcn"
    expected = ["KEY_FRAME_INTERVAL=9", "FLOW_HOP=3", "KEY_FRAME_DURATION=5", "CLIP_ENDS=shorten"]
    assert settings == [f"TEST.{each}" for each in expected]
    assert variant("fgfa_k5")[1] == ["TEST.KEY_FRAME_INTERVAL=5", "TEST.FLOW_HOP=0"]
    assert variant("fgfa_k9_h3_live")[1][-1] == "TEST.causal=true"
    assert variant("rfcn")[0].name == "rfcn" and variant("rfcn")[1] == []
    assert variant("dff_i20")[1] == ["TEST.KEY_FRAME_INTERVAL=20"]


@pytest.mark.parametrize("name", ["", "fgfa_rfcn", "fgfa_k", "fgfa_q3", "dff_i-1", "fgfa_shorten"])
def test_unknown_names(name):
    with pytest.raises(InputError, match="unknown variant; give"):
        variant(name)


def test_those_of_the_results_are_valid_and_different():
    names = [*(name for group in (*CHAINED.values(), *KEYED.values(), LIVE.values()) for name in group), SHORTER]
    found = []
    for name in names:
        method, settings = variant(name)
        load_config(ROOT / method.bundled.cfg, settings, method.schema)
        found.append(sorted(settings))
    assert len({tuple(settings) for settings in found}) == len(names) == len(set(names))
