"""Settings: what loads, what is rejected, and with which message."""

from __future__ import annotations

import functools
import operator
from pathlib import Path

import pytest
import yaml

from fgfa_rfcn.settings import SCHEMA
from lib import config
from lib.config import COMMON, Schema, joined, lr_steps
from lib.defaults import TREE
from lib.errors import InputError
from lib.methods import METHODS, method_of

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "tests" / "data" / "published.yaml"

load_config = functools.partial(config.load_config, schema=SCHEMA)
make_config = functools.partial(config.make_config, schema=SCHEMA)
leaves = functools.partial(config.leaves, SCHEMA.tree)


@pytest.fixture
def load(tmp_path):
    """load(text) -> settings of a YAML file with that text."""

    def from_text(text):
        path = tmp_path / "experiment.yaml"
        path.write_text(text)
        return load_config(path)

    return from_text


def test_a_published_file_loads_unchanged(load):
    text = PUBLISHED.read_text()
    cfg = load(text)
    for section, values in yaml.safe_load(text).items():
        for key, value in values.items() if isinstance(values, dict) else [(None, values)]:
            assert (cfg[section][key] if key else cfg[section]) == value, (section, key)


def test_an_empty_file_gives_the_defaults(load):
    cfg = load("")
    for path, key in leaves():
        found = functools.reduce(operator.getitem, path.split("."), cfg)
        if path not in ("network.NUM_ANCHORS", "network.FGFA_FEAT_DIM"):
            assert found == key.default, path
    assert cfg.network.NUM_ANCHORS == 9 and cfg.network.FGFA_FEAT_DIM == 3072


def test_defaults_are_not_shared(load):
    load("").network.WIDTHS.append(5)
    assert load("").network.WIDTHS == [64, 128, 256, 512] == TREE["network"]["WIDTHS"].default


def test_every_key_says_what_it_does():
    for path, key in leaves():
        assert key.doc.endswith((".", "...")), path
        assert not key.choices or key.default in key.choices, path


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*/cfgs/*.yaml")), ids=lambda path: path.stem)
def test_the_experiments_load(path):
    config.load_config(path, schema=method_of(path).schema)


def test_without_a_method_only_the_common_keys_are_read(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("TEST: {NMS: 0.5, KEY_FRAME_INTERVAL: 3}")
    cfg = config.load_config(path)
    assert cfg.TEST.NMS == 0.5 and "KEY_FRAME_INTERVAL" not in cfg.TEST
    with pytest.raises(InputError, match=r"unknown key TEST\.KEY_FRAME_INTERVAL"):
        config.load_config(path, schema=Schema(COMMON.tree))


def test_a_key_belongs_to_one_tree():
    with pytest.raises(ValueError, match="NMS is defined twice"):
        joined(COMMON.tree, {"TEST": {"NMS": COMMON.tree["TEST"]["NMS"]}})


def test_derived_values(load):
    net = load(
        "network: {ANCHOR_SCALES: [4, 8], ANCHOR_RATIOS: [0.5, 1, 2], FEAT_DIM: 256, EMBED_DIMS: [64, 64, 128]}"
    ).network
    assert net.NUM_ANCHORS == 6 and net.FGFA_FEAT_DIM == 384


@pytest.mark.parametrize("text, section, key, value", [
    ("TRAIN: {lr: 1e-3}", "TRAIN", "lr", 0.001),
    ("TRAIN: {lr: '2.5e-4'}", "TRAIN", "lr", 0.00025),
    ("TRAIN: {lr: 1}", "TRAIN", "lr", 1.0),
    ("TRAIN: {lr_step: 1.333}", "TRAIN", "lr_step", "1.333"),
    ("TRAIN:\n  lr_step: 4,6", "TRAIN", "lr_step", "4,6"),
    ("network: {ANCHOR_SCALES: [2.5, 8]}", "network", "ANCHOR_SCALES", [2.5, 8]),
    ("TRAIN: {RPN_NMS_THRESH: 1}", "TRAIN", "RPN_NMS_THRESH", 1.0),
    ("TEST: {SCORE_THRESH: 1e-3}", "TEST", "SCORE_THRESH", 0.001),
    ("network: {PIXEL_MEANS: [0, 0.5, 1]}", "network", "PIXEL_MEANS", [0, 0.5, 1]),
])  # fmt: skip
def test_numbers_as_people_write_them(load, text, section, key, value):
    found = load(text)[section][key]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("text, gpus", [("gpus: 0", "0"), ("gpus: '0,1'", "0,1"), ("gpus: ''", "")])
def test_gpus(load, text, gpus):
    assert load(text).gpus == gpus


def test_lr_steps():
    assert lr_steps("1.333") == [1.333] and lr_steps("4, 6") == [4, 6] and lr_steps("") == []


@pytest.mark.parametrize("text, message", [
    # unknown keys, with the nearest
    ("TRIAN: {}", "unknown key TRIAN; did you mean TRAIN?"),
    ("TRAIN: {learning_rate: 1}", "unknown key TRAIN.learning_rate; valid here: ALTERNATE, ASPECT_GROUPING"),
    ("TRAIN: {LR: 1}", "unknown key TRAIN.LR; did you mean TRAIN.lr?"),
    ("TEST: {KEY_FRAME_INTERVALL: 9}", "unknown key TEST.KEY_FRAME_INTERVALL; did you mean TEST.KEY_FRAME_INTERVAL?"),
    ("lr: 1", "unknown key lr; did you mean TRAIN.lr?"),
    ("network: {NUM_CLASSES: 31}", "unknown key network.NUM_CLASSES; did you mean dataset.NUM_CLASSES?"),
    ("network: {1: 2}", "unknown key network.1;"),
    # wrong types
    ("TRAIN: 3", "TRAIN must hold `key: value` lines, not 3"),
    ("TRAIN:", "TRAIN must hold `key: value` lines, not None"),
    ("[1, 2]", "the file must hold `key: value` lines, not [1, 2]"),
    ("TRAIN: {lr: fast}", "TRAIN.lr must be a number, not 'fast'"),
    ("TRAIN: {lr: true}", "TRAIN.lr must be a number, not True"),
    ("TRAIN: {lr: [1]}", "TRAIN.lr must be a number, not [1]"),
    ("TRAIN: {lr: .inf}", "TRAIN.lr must be a finite number, not inf"),
    ("TRAIN: {end_epoch: 1.5}", "TRAIN.end_epoch must be a whole number, not 1.5"),
    ("TRAIN: {end_epoch: true}", "TRAIN.end_epoch must be a whole number, not True"),
    ("TRAIN: {FLIP: 1}", "TRAIN.FLIP must be true or false, not 1"),
    ("TRAIN: {FLIP: 'yes'}", "TRAIN.FLIP must be true or false, not 'yes'"),
    ("TRAIN: {model_prefix: }", "TRAIN.model_prefix must be a string, not None"),
    ("TRAIN: {ALTERNATE: 3}", "TRAIN.ALTERNATE must be a section, not 3"),
    ("SCALES: 600", "SCALES must be a list of whole numbers, or a list of such lists, not 600"),
    ("SCALES: [600, big]", "SCALES must be a list of whole numbers, or a list of such lists, not [600, 'big']"),
    ("SCALES: [[6, 9], 5]", "SCALES must be a list of whole numbers, or a list of such lists, not [[6, 9], 5]"),
    ("SCALES: [[6, 9], [4, x]]", "SCALES must be a list of whole numbers, not [4, 'x']"),
    ("SCALES: [[[6, 9]]]", "SCALES must be a list of whole numbers, not [[6, 9]]"),
    ("network: {FIXED_PARAMS: conv1}", "network.FIXED_PARAMS must be a list of strings, not 'conv1'"),
    ("network: {FIXED_PARAMS: [1]}", "network.FIXED_PARAMS must be a list of strings, not [1]"),
    ("network: {PIXEL_MEANS: [1, 2, .nan]}", "network.PIXEL_MEANS must be a list of numbers, not [1, 2, nan]"),
    ("network: {UNITS: [3, 4.5, 23, 3]}", "network.UNITS must be a list of whole numbers, not [3, 4.5, 23, 3]"),
    # values that are not allowed
    ("network: {OPERATORS: fast}", "network.OPERATORS must be 'compiled' or 'builtin', not 'fast'"),
    ("TEST: {WEIGHTS: max}", "TEST.WEIGHTS must be 'cosine' or 'mean', not 'max'"),
    ("CLASS_AGNOSTIC: false", "CLASS_AGNOSTIC must be True, not False"),
    ("TRAIN: {BATCH_IMAGES: 2}", "TRAIN.BATCH_IMAGES must be 1, not 2"),
    ("gpus: cpu", "gpus must be numbers separated by commas, or empty"),
    ("gpus: '0,'", "gpus must be numbers separated by commas, or empty"),
    ("gpus: -1", "gpus must be numbers separated by commas, or empty"),
    # contradictions
    ("network: {NUM_ANCHORS: 12}", "network.NUM_ANCHORS is 12, but ANCHOR_SCALES x ANCHOR_RATIOS give 9; leave it out"),
    ("network: {FGFA_FEAT_DIM: 1024}", "FGFA_FEAT_DIM is 1024, but FEAT_DIM + the last of EMBED_DIMS give 3072"),
    ("network: {RPN_FEAT_STRIDE: 8}", "network.RPN_FEAT_STRIDE is 8, but STRIDES give 16"),
    ("network: {RCNN_FEAT_STRIDE: 8}", "network.RCNN_FEAT_STRIDE must equal network.RPN_FEAT_STRIDE"),
    ("network: {UNITS: [3, 4, 6]}", "network.UNITS must have 4 numbers"),
    ("network: {EMBED_DIMS: [64, 64]}", "network.EMBED_DIMS must have 3 numbers"),
    ("network: {PIXEL_MEANS: [100]}", "network.PIXEL_MEANS must have 3 numbers"),
    ("network: {FEAT_DIM: 63}", "network.FEAT_DIM must be even"),
    ("network: {ANCHOR_MEANS: [0, 0, 0, 1]}", "network.ANCHOR_MEANS other than zeros are not supported"),
    ("network: {FLOW_DECODER: [8, 8]}", "network.FLOW_DECODER must have 4 numbers, two fewer than FLOW_ENCODER"),
    ("network: {FLOW_POOL_INPUT: false}", "give flow of stride 8, but the features have 16"),
    ("SCALES: [1000, 600]", "SCALES must be [short side, long side], short no longer than long"),
    ("SCALES: [0, 600]", "SCALES must be greater than 0"),
    ("SCALES: []", "SCALES must not be empty"),
    ("SCALES: [[]]", "SCALES must not be empty"),
    ("SCALES: [[600, 1000], [0, 9]]", "SCALES must be greater than 0, not [0, 9]"),
    ("SCALES: [[600, 1000], [9000, 9000]]", "SCALES must not exceed 8192 pixels a side and 16777216 in all"),
    ("SCALES: [[600, 1000], [800, 600]]", "short no longer than long, or a list of such pairs"),
    ("SCALES: [[600, 1000], [800]]", "short no longer than long, or a list of such pairs"),
    ("TRAIN: {AUGMENT: {SCALE: 0.5}}\nSCALES: [600, 6000]", "16777216 in all, with TRAIN.AUGMENT.SCALE"),
    ("TRAIN: {AUGMENT: {SCALE: 0.6}}", "TRAIN.AUGMENT.SCALE must be from 0 to 0.5"),
    ("TRAIN: {AUGMENT: {HUE: 1}}", "TRAIN.AUGMENT.HUE must be from 0 to 0.5"),
    ("TRAIN: {AUGMENT: {BRIGHTNESS: -0.1}}", "TRAIN.AUGMENT.BRIGHTNESS must be from 0 to 1"),
    ("TRAIN: {AUGMENT: {SATURATON: 0.1}}", "unknown key TRAIN.AUGMENT.SATURATON; did you mean TRAIN.AUGMENT.S"),
    ("SCALES: [600, 9000]", "SCALES must not exceed 8192 pixels a side and 16777216 in all"),
    ("SCALES: [8000, 8000]", "SCALES must not exceed 8192 pixels a side and 16777216 in all"),
    ("network: {UNITS: [1, 100000000, 1, 1]}", "network.UNITS must not exceed 1000 in all"),
    ("network: {FEAT_DILATION: 1000000}", "network.DILATIONS and FEAT_DILATION must not exceed 1000"),
    ("SCALES: [600]", "SCALES must be [short side, long side], short no longer than long"),
    ("TRAIN: {begin_epoch: 2}", "TRAIN.end_epoch must be greater than TRAIN.begin_epoch"),
    ("TRAIN: {MIN_OFFSET: 9, MAX_OFFSET: 9}", "TRAIN.MIN_OFFSET must be less than TRAIN.MAX_OFFSET"),
    ("TRAIN: {RPN_NEGATIVE_OVERLAP: 0.8}", "TRAIN.RPN_NEGATIVE_OVERLAP must not exceed TRAIN.RPN_POSITIVE_OVERLAP"),
    ("TRAIN: {RPN_POST_NMS_TOP_N: 7000}", "TRAIN.RPN_POST_NMS_TOP_N must not exceed RPN_PRE_NMS_TOP_N"),
    ("TEST: {RPN_PRE_NMS_TOP_N: 1000000000}", "RPN_PRE_NMS_TOP_N must not exceed 50000"),
    ("TEST: {RPN_POST_NMS_TOP_N: 0}", "TEST.RPN_POST_NMS_TOP_N"),
    ("TEST: {KEY_FRAME_INTERVAL: -1}", "TEST.KEY_FRAME_INTERVAL must be 0 or more"),
    ("TRAIN: {lr_step: 'a,b'}", "TRAIN.lr_step must be numbers separated by commas"),
    ("dataset: {NUM_CLASSES: 1}", "dataset.NUM_CLASSES must be at least 2"),
    # numbers that make no sense for a network or a training
    ("network: {ANCHOR_SCALES: []}", "network.ANCHOR_SCALES must not be empty"),
    ("network: {ANCHOR_STDS: [0.1, 0.1]}", "network.ANCHOR_STDS must have 4 numbers"),
    ("network: {WIDTHS: [64, 0, 256, 512]}", "network.WIDTHS must be greater than 0"),
    ("network: {PSROI_SIZE: 0}", "network.PSROI_SIZE must be greater than 0"),
    ("TRAIN: {BATCH_ROIS_OHEM: 0}", "TRAIN.BATCH_ROIS_OHEM must be greater than 0"),
    ("TRAIN: {lr: -0.1}", "TRAIN.lr must be greater than 0"),
    ("TRAIN: {BBOX_STDS: [0, 1, 1, 1]}", "TRAIN.BBOX_STDS must be greater than 0"),
    ("TEST: {BATCH_IMAGES: 0}", "TEST.BATCH_IMAGES must be greater than 0"),
])  # fmt: skip
def test_what_is_refused(load, tmp_path, text, message):
    with pytest.raises(InputError) as refused:
        load(text)
    assert str(refused.value).startswith(f"{tmp_path / 'experiment.yaml'}: ") and message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_overrides_win_over_the_file(tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text("TRAIN: {lr: 1}\ngpus: '0'\n")
    cfg = load_config(path, ["TRAIN.lr=1e-3", "TEST.KEY_FRAME_INTERVAL=5", "SCALES=[48, 80]", "gpus="])
    assert (cfg.TRAIN.lr, cfg.TEST.KEY_FRAME_INTERVAL, cfg.SCALES, cfg.gpus) == (0.001, 5, [48, 80], "")
    assert load_config(path, ["TRAIN.lr=2", "TRAIN.lr=3"]).TRAIN.lr == 3


def test_file_of_another_method_is_refused(tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text("method: rfcn\nTRAIN: {lr: 1}")
    assert config.load_config(path, schema=METHODS["rfcn"].schema).TRAIN.lr == config.load_config(path).TRAIN.lr == 1
    with pytest.raises(InputError, match=r"experiment.yaml: method is 'rfcn', but this script is for fgfa_rfcn"):
        config.load_config(path, schema=METHODS["fgfa_rfcn"].schema)


@pytest.mark.parametrize("override, message", [
    ("TRAIN.lr", "--set: 'TRAIN.lr': write KEY.PATH=VALUE"),
    ("=3", "--set: '=3': write KEY.PATH=VALUE"),
    ("TRAIN.lr.x=3", "--set: 'TRAIN.lr.x=3': lr is not a section"),
    ("TRAIN.lr=[", "--set: 'TRAIN.lr=[': '[' is not a YAML value"),
    ("TRAIN.lr=", "TRAIN.lr must be a number, not ''"),
    ("TRAIN.rate=3", "unknown key TRAIN.rate"),
])  # fmt: skip
def test_overrides_that_are_refused(tmp_path, override, message):
    path = tmp_path / "experiment.yaml"
    path.write_text("TRAIN: {lr: 1}")
    with pytest.raises(InputError) as refused:
        load_config(path, [override])
    assert message in str(refused.value) and "\n" not in str(refused.value)
    path.write_text("[1]")
    with pytest.raises(InputError, match="the file must hold"):
        load_config(path, [override])


def test_broken_yaml_is_reported_with_its_line(load, tmp_path):
    with pytest.raises(InputError, match=r"experiment\.yaml:3: invalid YAML") as refused:
        load("TRAIN:\n  lr: 1\n lr: [2\n")
    assert "\n" not in str(refused.value)
    for text in ("TRAIN: !!python/object/apply:os.system ['true']", "TRAIN: \x00"):
        with pytest.raises(InputError, match="invalid YAML") as refused:
            load(text)
        assert "\n" not in str(refused.value)


def test_a_key_given_twice_is_refused(load):
    with pytest.raises(InputError, match=r"experiment\.yaml:3: .*TRAIN.*twice"):
        load("TRAIN: {lr: 1}\ndataset: {}\nTRAIN: {lr: 2}\n")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot read the settings \(No such file.*--cfg"):
        load_config(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match="cannot read the settings"):
        load_config(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01\x80")
    with pytest.raises(InputError, match=r"binary\.yaml"):
        load_config(tmp_path / "binary.yaml")


def test_settings_from_a_dict_need_no_file():
    assert make_config({"TEST": {"KEY_FRAME_INTERVAL": 2}}).TEST.KEY_FRAME_INTERVAL == 2
    with pytest.raises(InputError, match=r"^unknown key TEST\.K"):
        make_config({"TEST": {"K": 2}})
