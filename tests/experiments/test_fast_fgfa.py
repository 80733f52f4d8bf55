"""The comparison of FGFA's faster variants: what it tests, and its table."""

from __future__ import annotations

import runpy

from lib.config import load_config
from tests import tiny
from tests.tiny import ROOT, run_script

SCRIPT = "experiments/minivid/fast_fgfa.py"


def test_every_variant_is_valid_and_has_its_reference():
    script = runpy.run_path(str(ROOT / SCRIPT))
    variants, method = script["variants"](), script["METHOD"]
    settings = [tuple(each.items()) for each in variants.values()]
    assert len(set(settings)) == len(settings)
    for name, keys in variants.items():
        cfg = load_config(
            ROOT / method.bundled.cfg, [f"TEST.{key}={value}" for key, value in keys.items()], method.schema
        )
        assert all(cfg.TEST[key] == value for key, value in keys.items())
        published = variants[script["reference"](name)]
        expected = {**published, "KEY_FRAME_INTERVAL": keys["KEY_FRAME_INTERVAL"]}
        assert published == expected and published["FLOW_HOP"] == 0 and published["KEY_FRAME_DURATION"] == 1


def test_tests_compares_and_skips_what_is_done(minivid, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg = tiny.write_experiment(tmp_path, minivid, "fgfa_rfcn")
    args, auxs = tiny.weights(tiny.settings(dataset={"NUM_CLASSES": 9}))
    tiny.params.save(tmp_path / "a.params", args, auxs)
    argv = ("--cfg", cfg, "--weights", tmp_path / "a.params", "--results", tmp_path / "r", "--draws", 20)
    run_script(SCRIPT, *argv, "--only", "k5", "k5_h2")
    table = (tmp_path / "r/fast_fgfa.md").read_text()
    assert "| k5 |" in table and "| k5_h2 |" in table and "| k9" not in table
    written = (tmp_path / "r/k5_h2/results.json").stat().st_mtime_ns
    run_script(SCRIPT, *argv, "--only", "k5", "k5_h2")
    assert (tmp_path / "r/k5_h2/results.json").stat().st_mtime_ns == written
