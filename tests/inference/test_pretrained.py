"""Pretrained detectors, and the names that the packages export."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import dff_rfcn
import fgfa_rfcn
import rfcn
from fgfa_rfcn.settings import SCHEMA
from lib.bbox.detections import Detections
from lib.config import load_config
from lib.errors import InputError
from lib.inference.pretrained import read_pretrained
from lib.methods import method_of
from lib.nets import params
from tests import tiny
from tests.golden import same_detections

ROOT = Path(__file__).parents[2]
CLASSES = "c1 cat\nc2 dog\nc3 fish\n"
DETECTORS = {
    "rfcn": lambda: rfcn.FrameDetector,
    "fgfa_rfcn": lambda: fgfa_rfcn.VideoDetector,
    "dff_rfcn": lambda: dff_rfcn.KeyFrameDetector,
}


def read(where, settings=(), gpu=None):
    return read_pretrained(where, settings, gpu, SCHEMA)


@pytest.fixture
def files(tmp_path):
    """A folder with weights of all methods."""
    (tmp_path / "classes.txt").write_text(CLASSES)
    for method in DETECTORS:
        settings = tiny.known(method, tiny.nested(TEST={"KEY_FRAME_INTERVAL": 2}))
        (tmp_path / f"{method}.yaml").write_text(yaml.safe_dump({**settings, "gpus": "0,1,2,3"}))
        params.save(tmp_path / f"{method}-0000.params", *tiny.weights(tiny.settings(method), method))
    return tmp_path


@pytest.mark.parametrize("method", DETECTORS)
def test_a_pretrained_detector_is_the_one_of_settings_and_weights(files, method):
    detector = DETECTORS[method]().from_pretrained(files / method)
    plain = DETECTORS[method]().load(
        tiny.settings(method, TEST={"KEY_FRAME_INTERVAL": 2}), files / f"{method}-0000.params", batch=1
    )
    frames = tiny.clip(3)
    found, expected = list(detector(frames)), list(plain(frames))
    assert len(found) == len(expected) == 3
    for one, other in zip(found, expected):
        same_detections(one, other)
        assert one.names == [("cat", "dog", "fish")[number - 1] for number in one.classes]
        assert {"cat", "dog", "fish"} == set(one.names)
        assert other.class_names == ()


def test_settings_win_over_the_file(files):
    cfg, weights, classes = read(f"{files}/fgfa_rfcn", ["TEST.KEY_FRAME_INTERVAL=0"])
    assert cfg.TEST.KEY_FRAME_INTERVAL == 0 and cfg.gpus == "" and weights.name == "fgfa_rfcn-0000.params"
    assert classes.names == ["cat", "dog", "fish"]
    assert read(files / "rfcn", gpu=2).cfg.gpus == "2"


def test_a_folder_stands_for_the_one_detector_in_it_and_the_last_epoch(files):
    with pytest.raises(InputError, match="contains weights of dff_rfcn, fgfa_rfcn, rfcn"):
        read(files)
    for path in (*files.glob("rfcn*"), *files.glob("dff*")):
        path.unlink()
    (files / "fgfa_rfcn-0002.params").write_bytes(b"later")
    (files / "fgfa_rfcn-latest.params").write_bytes(b"within an epoch")
    assert read(files).weights == files / "fgfa_rfcn-0002.params"


def test_what_is_missing_is_named(files):
    with pytest.raises(InputError, match=r"no weights other-0000\.params in"):
        read(files / "other")
    (files / "rfcn.yaml").unlink()
    with pytest.raises(InputError, match=r"rfcn\.yaml: no such file; the weights .*rfcn-0000\.params need"):
        read(files / "rfcn")
    (files / "classes.txt").write_text("c1 cat\n")
    with pytest.raises(InputError, match="class list has 1 classes"):
        read(files / "fgfa_rfcn")
    (files / "empty").mkdir()
    with pytest.raises(InputError, match="contains no weights"):
        read(files / "empty")


def test_weights_of_the_other_method_are_refused(files):
    (files / "rfcn-0000.params").write_bytes((files / "fgfa_rfcn-0000.params").read_bytes())
    with pytest.raises(InputError, match="weights of another network"):
        rfcn.FrameDetector.from_pretrained(files / "rfcn")


def test_importing_the_packages_needs_no_mxnet():
    code = (
        "import sys; from rfcn import Detections, Tracker; import fgfa_rfcn; "
        "assert (fgfa_rfcn.Detections, fgfa_rfcn.Tracker) == (Detections, Tracker); "
        "sys.exit(bool({'mxnet', 'cv2', 'lib.backends.mxnet.loader'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("package", [rfcn, fgfa_rfcn, dff_rfcn])
def test_the_packages_export_their_public_names(package):
    assert set(package.__all__) > {"Detections", "Tracker"}
    assert all(getattr(package, name).__name__ == name for name in package.__all__)
    assert package.Detections is Detections
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = package.Nothing


BUNDLED = {
    "fgfa": "experiments/fgfa_rfcn/cfgs/resnet_small_flownet_minivid_rfcn_end2end_ohem.yaml",
    "rfcn": "experiments/rfcn/cfgs/resnet_small_minivid_rfcn_end2end_ohem.yaml",
    "dff": "experiments/dff_rfcn/cfgs/resnet_small_flownet_minivid_rfcn_end2end_ohem.yaml",
}


@pytest.mark.parametrize("name", BUNDLED)
def test_the_bundled_settings_are_those_of_the_experiment(name):
    """model/minivid/<name>.yaml is a link to the experiment's file, unless a checkout made a copy of it."""
    paths = ROOT / f"model/minivid/{name}.yaml", ROOT / BUNDLED[name]
    bundled, experiment = (load_config(path, schema=method_of(ROOT / BUNDLED[name]).schema) for path in paths)
    assert bundled == experiment
