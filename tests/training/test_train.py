"""From settings to what training is made of; the training itself is run by tests/rfcn and tests/fgfa_rfcn."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fgfa_rfcn.method import METHOD
from lib import settings
from lib.backends.base import Alone
from lib.config import load_config
from lib.dataset.loader import single_frame
from lib.errors import InputError
from lib.files import locked
from lib.methods import METHODS
from lib.nets.flownet import is_flow_layer
from lib.nets.params import initial, save
from lib.output_paths import check_folder
from lib.training.fit import Interrupted
from lib.training.train import make_loader, optimizer, starting_point, train, trainable
from tests import tiny
from tests.conftest import needs
from tests.tiny import parameters


@pytest.fixture
def cfg(minivid, tmp_path):
    values = tiny.nested(dataset={"dataset_path": str(minivid), "NUM_CLASSES": 9, "image_set": tiny.TRAIN_LIST})
    return tiny.make_config({**values, "output_path": str(tmp_path)}, METHOD.schema)


def test_the_loader_follows_the_settings(cfg):
    loader = make_loader(cfg, Alone([None] * 2), single_frame)
    files = Path(cfg.dataset.dataset_path).glob("Annotations/VID/train/*/*.xml")
    images = sum("<object>" in path.read_text() for path in files)
    assert len(loader) == images > 0  # and their mirror images, on 2 devices
    first, second = next(loader.epoch(0))
    for batch in (first, second):
        assert {name: value.shape for name, value in batch.items() if name != "gt_boxes"} == {
            "data": (1, 3, 48, 72),
            "im_info": (1, 3),
            "label": (1, 2 * 6 * 9),
            "bbox_target": (1, 8, 6, 9),
            "bbox_weight": (1, 8, 6, 9),
        }
        assert (batch["label"] >= 0).sum() <= 16  # RPN_BATCH_SIZE
        np.testing.assert_allclose(batch["im_info"], [[48, 72, 0.75]])
    cfg.TRAIN.FLIP = False
    assert len(make_loader(cfg, Alone([None]), single_frame)) == images


@pytest.mark.parametrize("name", ["mxnet", "torch"])
@pytest.mark.parametrize("method", METHODS)
def test_several_sizes_and_random_changes_stopped_and_resumed(method, name, minivid, tmp_path):
    needs(name)
    path = tiny.write_experiment(tmp_path, minivid, method)
    changes = "{BRIGHTNESS: 0.2, CONTRAST: 0.2, SATURATION: 0.3, HUE: 0.05, SCALE: 0.2}"

    def run(folder, *overrides, stopped=None):
        overrides = (f"backend={name}", "TRAIN.end_epoch=1", *overrides)
        cfg = load_config(path, overrides, METHODS[method].schema)
        return parameters(train(cfg, METHODS[method], tmp_path / folder, stopped=stopped))

    varied = ("SCALES=[[48, 80], [40, 80]]", f"TRAIN.AUGMENT={changes}")
    whole = run("whole", *varied)
    with pytest.raises(Interrupted):
        run("parts", *varied, stopped=tiny.After(7))
    parts, plain = run("parts", *varied, "TRAIN.RESUME=true"), run("plain")
    for each, value in whole.items():
        np.testing.assert_array_equal(parts[each], value, err_msg=each)
    assert np.isfinite(whole["rfcn_bbox_weight"]).all()
    assert not np.array_equal(whole["rfcn_bbox_weight"], plain["rfcn_bbox_weight"])


def test_the_order_depends_on_seed_and_epoch_alone(cfg):
    orders = [make_loader(cfg, Alone([None]), single_frame).order(epoch).tolist() for epoch in (0, 0, 1)]
    cfg.TRAIN.SEED = 1
    orders.append(make_loader(cfg, Alone([None]), single_frame).order(0).tolist())
    assert orders[0] == orders[1] and orders[0] != orders[2] and orders[0] != orders[3]
    cfg.TRAIN.SHUFFLE = False
    numbers = make_loader(cfg, Alone([None]), single_frame).order(5)[:, 0].tolist()
    assert numbers == sorted(numbers, key=lambda row: (row[1], row[0]))


def test_a_second_training_in_the_folder_is_refused(cfg, tmp_path):
    with locked(tmp_path / "out"), pytest.raises(InputError, match=f"out: process {os.getpid()} on .* is writing it"):
        train(cfg, METHOD, tmp_path / "out")


def test_missing_lists(cfg):
    cfg.dataset.image_set = "VID_train_15frames+VID_more"
    with pytest.raises(InputError, match=r"VID_more\.txt"):
        make_loader(cfg, Alone([None]), single_frame)


def test_frozen_layers():
    names = dict.fromkeys(
        ["conv1_weight", "conv2_weight", "bn_conv1_beta", "bn3a_gamma", "res2a_weight", "res3a_weight"]
    )
    assert trainable(names, ["conv1", "res2", "bn"]) == {"conv2_weight", "res3a_weight"}
    assert trainable(names, []) == set(names)


def test_layers_of_the_flow_network(manifests):
    aggregation, features = manifests["fgfa_aggr"]["params"], manifests["fgfa_feat"]["params"]
    found = set(filter(is_flow_layer, {**aggregation, **features}))
    assert found == {name for name in aggregation if not name.startswith(("rpn_", "rfcn_"))}


def test_flow_layers_have_their_own_rate(cfg):
    cfg.TRAIN.update(FLOW_LR_FACTOR=0.1, momentum=0.0, wd=0.0, CLIP_GRADIENT=0.0)
    names = ("flow_conv1_weight", "conv2_bias", "conv1_weight", "rfcn_cls_bias")
    assert [optimizer(cfg).lr_factor(name) for name in names] == [0.1, 0.1, 1, 1]


def test_parameters_have_factors_of_their_own(cfg):
    cfg.TRAIN.FLOW_LR_FACTOR = 0.1
    rules = optimizer(cfg, {"conv2_bias": 0.0, "conv2_weight": 2.0, "rfcn_cls_bias": 3.0})
    names = ("conv2_bias", "conv2_weight", "rfcn_cls_bias", "rfcn_cls_weight")
    assert [rules.lr_factor(name) for name in names] == [0, 2, 3, 1] and rules.lr_factor("conv3_bias") == 0.1


def test_the_settings_of_the_optimizer(cfg):
    cfg.TRAIN.update(momentum=0.5, wd=0.25, CLIP_GRADIENT=3.0)
    made = optimizer(cfg)
    assert (made.momentum, made.wd, made.clip_norm) == (0.5, 0.25, 3.0)


def test_training_starts_from_the_files_in_order_without_weights_made_for_testing(cfg, tmp_path):
    paths = [tmp_path / "backbone.params", tmp_path / "flow.params"]
    one = np.ones(1, np.float32)
    save(paths[0], {"a": one, "b": one}, {"m": one})
    save(paths[1], {"b": 2 * one, "b_test": one}, {})
    wanted = {"a": (1,), "b": (1,), "rpn_x_bias": (3,)}  # and the auxiliary state m
    method = replace(METHOD, pretrained=lambda cfg: paths)
    args, auxs, new = starting_point(cfg, method, wanted, {"m": (1,)})
    assert list(args) == ["a", "b", "rpn_x_bias"]
    assert args["a"].item() == 1 and args["b"].item() == 2
    assert auxs["m"].item() == 1 and new == ["rpn_x_bias"] and not args["rpn_x_bias"].any()
    with pytest.raises(InputError, match="parameter m2"):
        starting_point(cfg, method, wanted, {"m": (1,), "m2": (1,)})


def test_layers_of_another_number_of_classes_start_anew_and_are_named(cfg, tmp_path):
    trained = tiny.weights(tiny.settings())  # 4 classes
    save(tmp_path / "a.params", *trained)
    other = tiny.settings(dataset={"NUM_CLASSES": 9})
    wanted, wanted_auxs = ({name: value.shape for name, value in part.items()} for part in tiny.weights(other))
    method = replace(METHOD, pretrained=lambda cfg: [tmp_path / "a.params"])
    args, _, new = starting_point(cfg, method, wanted, wanted_auxs)
    bins = 9  # 3x3
    assert new == [
        f"rfcn_cls_weight ({9 * bins}, 8, 1, 1) in place of ({4 * bins}, 8, 1, 1)",
        f"rfcn_cls_bias ({9 * bins},) in place of ({4 * bins},)",
    ]
    for name, value in args.items():
        if name.startswith("rfcn_cls"):
            np.testing.assert_array_equal(value, initial(name, wanted[name], cfg.TRAIN.SEED, METHOD.new_layers))
        else:
            np.testing.assert_array_equal(value, trained[0][name])


# lib.settings


def test_classes_must_fit(cfg, tmp_path):
    assert len(settings.classes_of(cfg)) == 8
    own = tmp_path / "classes.txt"
    own.write_text("n1 cat\nn2 dog\n")
    cfg.dataset.CLASSES = str(own)
    with pytest.raises(InputError, match=r"NUM_CLASSES is 9, but the class list has 2 classes; set it to 3"):
        settings.classes_of(cfg)
    cfg.dataset.NUM_CLASSES = 3
    assert settings.classes_of(cfg).names == ["cat", "dog"]


def test_the_output_folder_tells_method_dataset_experiment_and_set(cfg, tmp_path):
    folder = settings.output_folder(cfg, "lr0.1", "rfcn", "DET_a+VID_b")
    assert folder == tmp_path / "rfcn" / "ImageNetVID" / "lr0.1" / "DET_a_VID_b"


def test_settings_are_kept_as_they_load(cfg, tmp_path):
    settings.keep_config(cfg, tmp_path / "new")
    assert tiny.make_config(tiny.yaml.safe_load((tmp_path / "new" / "config.yaml").read_text()), METHOD.schema) == cfg


def test_a_folder_that_can_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path)
    for bad in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="file is a file"):
            check_folder(bad)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
