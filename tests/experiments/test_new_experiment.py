"""experiments/new_experiment.py: from a dataset to YAML files, and by its commands to a trained detector."""

from __future__ import annotations

import json
import logging
import re

import numpy as np
import pytest
import yaml

from experiments import new_experiment
from experiments.new_experiment import Facts, fitted_anchors, fitted_scales
from lib.backends.base import Alone
from lib.config import load_config, make_config
from lib.dataset.importing import coco as import_coco
from lib.dataset.loader import single_frame
from lib.methods import METHODS
from lib.nets import params
from lib.nets.params import load
from lib.training.train import make_loader
from tests import tiny
from tests.dataset.importing.imported import failure, put_frames

SCRIPT = "experiments/new_experiment.py"
SMALL = "experiments/rfcn/cfgs/resnet_small_minivid_rfcn_end2end_ohem.yaml"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Imported: three classes; a video of three frames to train on, one of two to test on."""
    folder = tmp_path_factory.mktemp("own")
    boxes = {"a/000000.jpg": [4, 4, 30, 30], "a/000001.jpg": [6, 4, 30, 30], "b/000000.jpg": [8, 8, 20, 20]}
    names = [f"{video}/{frame:06d}.jpg" for video, count in (("a", 3), ("b", 2)) for frame in range(count)]
    content = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(("cup", "pen", "key"))],
        "annotations": [
            {"id": number, "image_id": names.index(name), "category_id": 1, "track_id": 1, "bbox": box}
            for number, (name, box) in enumerate(boxes.items())
        ],
    }
    (folder / "in.json").write_text(json.dumps(content))
    (folder / "val.txt").write_text("b\n")
    put_frames(folder / "media" / "a", 3)
    put_frames(folder / "media" / "b", 2)
    import_coco.main([
        *("--json", str(folder / "in.json"), "--media", str(folder / "media"), "--out", str(folder / "data")),
        *("--val-videos", str(folder / "val.txt")),
    ])  # fmt: skip
    return folder / "data"


def make(root, out, *more):
    new_experiment.main(["--name", "mine", "--root", str(root), "--out", str(out), *map(str, more)])
    names = {path.stem.removeprefix("mine_"): path for path in out.iterdir()}
    return {name: load_config(path, schema=METHODS[name].schema) for name, path in names.items()}


def facts(width=640, height=480, low=100.0, high=200.0):
    return Facts(3, 10, np.tile([[width, height]], (10, 1)), np.linspace(low, high, 101))


def test_the_size_of_the_input_by_hand():
    assert fitted_scales(facts()) == [192, 256]  # large objects: the smallest input does
    # a tenth of the sides are at most 30 + 0.1 * 70 = 37; 24 pixels of 37 is 311.4 of 480 pixels, a multiple of 32: 320
    assert fitted_scales(facts(low=30, high=100)) == [320, 448]
    assert fitted_scales(facts(low=5, high=100)) == [480, 640]  # as large as the pictures, no larger
    assert fitted_scales(facts(1920, 1080, low=5, high=100)) == [480, 864]
    assert fitted_scales(facts(480, 640)) == [192, 256]  # upright pictures
    assert fitted_scales(facts(64, 48, 5, 6)) == [192, 256]


def test_anchors_by_hand():
    usual = [3, 6, 12, 20]
    # at 192 of 480 pixels sides of 105 to 195 are 42 to 78 pixels, 5.25 to 9.75 cells
    assert fitted_anchors(facts(), 192, 8, usual) == usual
    large = fitted_anchors(facts(low=1000, high=2000), 192, 8, usual)
    assert len(large) == 4 and large[0] == pytest.approx(52.5) and large[-1] == pytest.approx(97.5)
    assert large == sorted(large)
    one_size = fitted_anchors(facts(low=1000, high=1000), 192, 8, usual)
    assert one_size[0] == 50 and one_size[-1] == 75


def test_what_follows_from_the_data(root, tmp_path):
    made = make(root, tmp_path / "out", "--steps", 10)
    assert set(made) == {"rfcn", "fgfa_rfcn", "dff_rfcn"}
    for method, cfg in made.items():
        assert (cfg.dataset.dataset, cfg.dataset.dataset_path) == ("mine", root.as_posix())
        assert (cfg.dataset.NUM_CLASSES, cfg.dataset.image_set) == (4, "VID_train_15frames")
        assert cfg.dataset.motion_iou_path == (root / "motion.json").as_posix()
        # two images have an object, with their mirror images four steps an epoch
        assert cfg.TRAIN.end_epoch == cfg.TEST.test_epoch == 3 and cfg.TRAIN.lr_step == "2.1"
        assert cfg.TRAIN.warmup_step == 1  # a tenth of twelve steps
        assert len(make_loader(cfg, Alone([None]), single_frame)) == 4
        assert cfg.network.pretrained == f"model/minivid/{method.partition('_')[0]}"
        assert cfg.network.UNITS == load_config(SMALL).network.UNITS
    for name in ("fgfa", "dff"):
        assert made[f"{name}_rfcn"].network.pretrained_flow == f"model/minivid/{name}"
    assert "pretrained_flow" not in (tmp_path / "out/mine_rfcn.yaml").read_text()


def test_the_published_network(root, tmp_path):
    made = make(root, tmp_path / "out", "--network", "resnet101", "--gpus", "0,1", "--method", "fgfa_rfcn")
    assert set(made) == {"fgfa_rfcn"}
    cfg = made["fgfa_rfcn"]
    assert cfg.network.UNITS == [3, 4, 23, 3] and cfg.SCALES == [600, 1000] and cfg.network.ANCHOR_SCALES == [8, 16, 32]
    assert cfg.network.pretrained == "model/pretrained_model/resnet_v1_101" and cfg.gpus == "0,1"
    assert cfg.TRAIN.end_epoch == 10000  # 20000 steps of 4 images on 2 devices


def test_weights_of_ones_own(root, tmp_path):
    made = make(root, tmp_path / "out", "--weights", "a/b-0012.params", "--flow-weights", "c/d-0000.params")
    for cfg in made.values():
        assert (cfg.network.pretrained, cfg.network.pretrained_epoch) == ("a/b", 12)
    assert made["fgfa_rfcn"].network.pretrained_flow == "c/d"


def test_bad_input(root, tmp_path, capsys):
    def refused(*arguments, name="mine", folder=root):
        given = ("--name", name, "--root", folder, "--out", tmp_path / "out", *arguments)
        return failure(new_experiment.main, capsys, *given)

    assert "--name 'a b': use only letters" in refused(name="a b")
    assert "--steps 0" in refused("--steps", 0)
    assert "copy it to mine-best-0000.params" in refused("--weights", "output/mine-best.params")
    assert "must end in -0000.params" in refused("--flow-weights", "f-0003.params")
    assert "VID_train_15frames.txt: list file cannot be read" in refused(folder=tmp_path)
    assert "nope: no such dataset folder" in refused(folder=tmp_path / "nope")
    assert "gpus must be numbers" in refused("--gpus", "x")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    make(root, tmp_path / "out", "--method", "rfcn")
    before = (tmp_path / "out/mine_rfcn.yaml").read_text()
    assert "mine_rfcn.yaml: exists already" in refused("--method", "all")
    assert (tmp_path / "out/mine_rfcn.yaml").read_text() == before and len(list((tmp_path / "out").iterdir())) == 1


def test_nothing_to_test_on(root, tmp_path, capsys):
    copy = tmp_path / "data"
    copy.mkdir()
    for name in ("Data", "Annotations", "classes.txt"):
        (copy / name).symlink_to(root / name)
    (copy / "ImageSets").mkdir()
    (copy / "ImageSets/VID_train_15frames.txt").write_text((root / "ImageSets/VID_train_15frames.txt").read_text())
    line = failure(new_experiment.main, capsys, "--name", "x", "--root", copy, "--out", tmp_path / "out")
    assert "VID_val_videos.txt: no videos to test on; import at least two videos" in line


@pytest.mark.parametrize("method", METHODS)
def test_the_commands_train_test_and_use_a_detector_of_ones_own_classes(root, tmp_path, caplog, method):
    """Starts from weights of 8 classes; no DET anywhere."""
    content = yaml.safe_load((tiny.ROOT / METHODS[method].bundled.cfg).read_text(encoding="utf-8"))
    small = make_config({**content, "SCALES": [48, 64]}, METHODS[method].schema)
    trained, auxs = tiny.weights(small, method)
    params.save(tmp_path / "start-0000.params", trained, auxs)
    weights = ("--weights", tmp_path / "start-0000.params", "--flow-weights", tmp_path / "start-0000.params")
    with caplog.at_level(logging.INFO):
        make(root, tmp_path / "cfg", "--method", method, "--steps", 4, *weights)
    commands = [
        line.split(": ", 1)[1].split()[1:] for line in caplog.text.splitlines() if ":" in line and "--cfg" in line
    ]
    assert len(commands) == 3
    text = (tmp_path / f"cfg/mine_{method}.yaml").read_text()
    text = re.sub(r"SCALES: .*", "SCALES: [48, 64]", text, count=1)  # as small as the pictures, to be quick
    (tmp_path / f"cfg/mine_{method}.yaml").write_text(f"output_path: {tmp_path}/output\n{text}")
    tiny.run_script(*commands[0])
    folder = tmp_path / "output" / method / "mine" / f"mine_{method}"
    log = (folder / "VID_train_15frames/train.log").read_text()
    assert "rfcn_cls_weight (100, 64, 1, 1) in place of (225, 64, 1, 1)" in log and "feat_conv_3x3" not in log
    assert json.loads((folder / "VID_val_videos/results.json").read_text())
    args, _ = load(folder / f"VID_train_15frames/{method}_mine-0001.params")
    assert args["rfcn_cls_bias"].shape == (4 * 25,)
    tiny.run_script(*commands[1])
    assert commands[2][-4:] == ["--input", "my.mp4", "--output", "out.mp4"]
    places = ("--output", tmp_path / "demo", tmp_path / "out.mp4")
    tiny.run_script(*commands[2][:-4], "--input", root / "Data/VID/val/b", *places, "--animation", "none")
    assert (tmp_path / "out.mp4").stat().st_size > 0
    assert len((tmp_path / "demo/detections.jsonl").read_text().splitlines()) == 2
