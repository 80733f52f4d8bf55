"""The weights that the repository carries, on the validation clips that it carries, through the real test scripts."""

from __future__ import annotations

import json

import pytest

from tests.tiny import ROOT, run_script

RFCN = "experiments/rfcn/cfgs/resnet_small_minivid_rfcn_end2end_ohem.yaml"
FGFA = "experiments/fgfa_rfcn/cfgs/resnet_small_flownet_minivid_rfcn_end2end_ohem.yaml"


def mean_ap(folder, script, cfg, weights):
    """mAP over all motion on data/minivid_val."""
    dataset = f"dataset.dataset_path={ROOT / 'data/minivid_val'}"
    run_script(
        script, "--cfg", ROOT / cfg, "--weights", ROOT / weights, "--output", folder, "--set", dataset,
        f"dataset.CLASSES={ROOT / 'model/minivid/classes.txt'}", f"output_path={folder}",
    )  # fmt: skip
    return json.loads((folder / "results.json").read_text())["map"]["all"]["map"]


@pytest.fixture(scope="module")
def rfcn(tmp_path_factory):
    return mean_ap(
        tmp_path_factory.mktemp("rfcn"), "experiments/rfcn/rfcn_test.py", RFCN, "model/minivid/rfcn-0000.params"
    )


def test_the_bundled_baseline_is_as_good_as_it_was(rfcn):
    assert rfcn > 0.66


def test_bundled_fgfa_is_better_than_the_baseline(rfcn, tmp_path):
    fgfa = mean_ap(tmp_path, "experiments/fgfa_rfcn/fgfa_rfcn_test.py", FGFA, "model/minivid/fgfa-0000.params")
    assert fgfa > 0.76
    assert fgfa > rfcn + 0.05
