"""Which network a parameter file fits, and what is reported if it fits none."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from lib.cli import inspection
from lib.cli.weights import main
from lib.errors import InputError
from lib.files import sha256
from lib.methods import METHODS
from lib.nets import params
from lib.nets.flownet import is_flow_layer
from tests import tiny


@pytest.fixture(scope="module")
def cfgs(tmp_path_factory):
    """Settings of the tiny networks, where the program looks for those of a method."""
    root = tmp_path_factory.mktemp("experiments")
    for method in METHODS:
        folder = root / method / "cfgs"
        folder.mkdir(parents=True)
        (folder / f"{method}.yaml").write_text(yaml.safe_dump(tiny.known(method, tiny.SETTINGS)))
    (root / "rfcn" / "cfgs" / "twin.yaml").write_text(yaml.safe_dump({**tiny.SETTINGS, "gpus": "0"}))
    return sorted(root.glob("*/cfgs/*.yaml"))


@pytest.fixture(scope="module")
def known(cfgs):
    return inspection.networks(cfgs)


def written(folder, args, auxs):
    path = folder / "x-0000.params"
    params.save(path, args, auxs)
    return path


def test_alike_networks_are_one_and_parts_stand_by_themselves(known):
    titles = {network.title: network.settings for network in known}
    assert titles == {
        "detector of rfcn": ("rfcn.yaml", "twin.yaml"),
        "backbone of rfcn": ("rfcn.yaml", "twin.yaml"),
        "detector of fgfa_rfcn": ("fgfa_rfcn.yaml",),
        "backbone of fgfa_rfcn": ("fgfa_rfcn.yaml",),
        "flow network of fgfa_rfcn": ("fgfa_rfcn.yaml",),
        "detector of dff_rfcn": ("dff_rfcn.yaml",),
        "backbone of dff_rfcn": ("dff_rfcn.yaml",),
        "flow network of dff_rfcn": ("dff_rfcn.yaml",),
    }


@pytest.mark.parametrize("method", METHODS)
def test_weights_fit_their_own_detector_alone(known, method, tmp_path):
    args, auxs = tiny.weights(tiny.settings(), method)
    args["rfcn_bbox_bias_test"] = args["rfcn_bbox_bias"]
    path = written(tmp_path, args, auxs)
    text, fits = inspection.report(path, known)
    assert fits
    assert [line.split(" (")[0] for line in text.splitlines() if line.startswith("fits")] == [
        f"fits the detector of {method}"
    ]
    assert f"sha256 {sha256(path)}" in text
    assert f"{len(args)} arguments, {len(auxs)} auxiliary states" in text
    assert "for testing: 1 (rfcn_bbox_bias_test)" in text
    assert "  arg conv1_weight (8, 3, 7, 7) float32" in text
    assert "  aux bn_conv1_moving_var (8,) float32" in text


def test_a_classifiers_weights_fit_the_backbone_and_the_rest_is_left_aside(known, tmp_path):
    args, auxs = tiny.weights(tiny.settings(), "rfcn")
    args = {name: value for name, value in args.items() if inspection.is_backbone_layer(name)}
    args["fc1_weight"] = np.zeros((5, 32), np.float32)
    text, fits = inspection.report(written(tmp_path, args, auxs), known, listing=False)
    assert fits
    assert "fits the backbone of rfcn (rfcn.yaml, twin.yaml); ignores 1 (fc1_weight)" in text
    assert "detector" not in text


def test_flow_weights_fit_every_flow_network_without_the_layers_that_training_adds(known, tmp_path):
    args, _ = tiny.weights(tiny.settings("fgfa_rfcn"), "fgfa_rfcn")
    flow = {name: value for name, value in args.items() if is_flow_layer(name)}
    text, fits = inspection.report(written(tmp_path, flow, {}), known, listing=False)
    assert fits
    for method in ("fgfa_rfcn", "dff_rfcn"):
        assert f"fits the flow network of {method} ({method}.yaml)" in text


def test_every_fault_is_named_for_the_nearest_network(known, tmp_path):
    args, auxs = tiny.weights(tiny.settings(), "fgfa_rfcn")
    del args["em_conv1_weight"], args["conv2_weight"], args["conv1_weight"]
    args["surplus_weight"] = np.zeros(3, np.float32)
    args["rfcn_cls_bias"] = np.zeros(7, np.float32)
    text, fits = inspection.report(written(tmp_path, args, auxs), known, listing=False)
    assert not fits
    assert "fits none; the nearest is the detector of fgfa_rfcn (fgfa_rfcn.yaml):" in text
    assert "  missing: 3 (conv1_weight, conv2_weight, em_conv1_weight)" in text
    assert "  extra: 1 (surplus_weight)" in text
    assert f"  wrong shape: rfcn_cls_bias (7,) instead of ({9 * tiny.CLASSES},)" in text


def test_values_that_are_no_numbers_are_told(known, tmp_path):
    args, auxs = tiny.weights(tiny.settings(), "rfcn")
    args["rfcn_cls_bias"] = np.full_like(args["rfcn_cls_bias"], np.nan)
    text, fits = inspection.report(written(tmp_path, args, auxs), known, listing=False)
    assert not fits and "NOT FINITE: 1 (rfcn_cls_bias)" in text


def test_the_command_prints_and_its_status_tells_a_fit(cfgs, tmp_path, capsys):
    args, auxs = tiny.weights(tiny.settings(), "rfcn")
    path = written(tmp_path, args, auxs)
    main(["inspect", str(path), "--cfg", str(cfgs[1]), "--cfg", str(cfgs[2])])
    assert "fits the detector of rfcn" in capsys.readouterr().out
    params.save(path, {"conv1_weight": args["conv1_weight"]}, {})
    with pytest.raises(SystemExit) as stop:
        main(["inspect", str(path), "--cfg", str(cfgs[2]), "--brief"])
    assert stop.value.code == 1
    assert "fits none" in capsys.readouterr().out


def test_settings_elsewhere_need_the_method_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(tiny.SETTINGS))
    with pytest.raises(InputError, match="--method"):
        inspection.networks([path])
    assert {network.method for network in inspection.networks([path], "rfcn")} == {"rfcn"}
    for name in ("no_such_method", "json", "lib"):
        with pytest.raises(InputError, match="unknown method; choose from"):
            inspection.networks([path], name)
