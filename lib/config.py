"""Loading YAML settings: defaults, checks, and errors that name the key."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from easydict import EasyDict

from lib.defaults import TREE, Key
from lib.errors import InputError, nearest, read_text

# How many numbers a list must have.
_LENGTHS = {
    **dict.fromkeys(("network.UNITS", "network.WIDTHS", "network.STRIDES", "network.DILATIONS"), 4),
    **dict.fromkeys(("network.EMBED_DIMS", "network.PIXEL_MEANS"), 3),
    **dict.fromkeys(("network.ANCHOR_MEANS", "network.ANCHOR_STDS"), 4),
    **dict.fromkeys(("TRAIN.BBOX_MEANS", "TRAIN.BBOX_STDS", "TRAIN.BBOX_WEIGHTS", "TRAIN.RPN_BBOX_WEIGHTS"), 4),
}

# Numbers, alone or in lists, that nothing can be made of unless they are greater than 0.
_POSITIVE = {
    "": ("SCALES",),
    "network": (
        *("UNITS", "WIDTHS", "STRIDES", "DILATIONS", "STEM", "FEAT_DIM", "FEAT_DILATION", "PSROI_SIZE", "EMBED_DIMS"),
        *("FLOW_ENCODER", "FLOW_DECODER", "ANCHOR_SCALES", "ANCHOR_RATIOS", "ANCHOR_STDS"),
    ),
    "TRAIN": ("lr", "BATCH_ROIS_OHEM", "RPN_BATCH_SIZE", "BBOX_STDS"),
    "TEST": ("BATCH_IMAGES",),
}


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML by itself takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> EasyDict:
    """Settings of a YAML file over the defaults; overrides are `KEY.PATH=VALUE` texts that win over the file.

    Raises InputError, naming file and key: no such file, broken YAML, unknown key (with the nearest valid one), wrong
    type, values that contradict each other.
    """
    path = Path(path)
    text = read_text(path, "give an existing YAML file to --cfg", "cannot read the settings")
    try:
        given = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", error)).split())
        raise InputError(f"{path}{line}: not YAML: {problem}") from None
    try:
        given = given if given is not None else {}
        for text in overrides if isinstance(given, dict) else ():
            _override(given, text)
        return make_config(given)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _override(given: dict[str, Any], text: str) -> None:
    """Puts `KEY.PATH=VALUE`, VALUE as in YAML, into nested settings."""
    path, equals, value = text.partition("=")
    *sections, name = path.split(".")
    if not equals or not name:
        raise InputError(f"--set {text!r}: write KEY.PATH=VALUE, say TEST.KEY_FRAME_INTERVAL=5")
    for section in sections:
        given = given.setdefault(section, {})
        if not isinstance(given, dict):
            raise InputError(f"--set {text!r}: {section} is no section")
    try:
        given[name] = yaml.safe_load(value) if value else ""  # `gpus=` is the CPU
    except yaml.YAMLError:
        raise InputError(f"--set {text!r}: {value!r} is not a YAML value") from None


def make_config(given: dict[str, Any]) -> EasyDict:
    """Settings `given` as a nested dict over the defaults, checked as by `load_config`."""
    merged = _merge(given, TREE, "")
    cfg = EasyDict(merged)
    _check_numbers(cfg)
    _derive(cfg)
    _check(cfg)
    return cfg


def _merge(given: Any, tree: dict[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InputError(f"{where.rstrip('.') or 'the file'} must hold `key: value` lines, not {given!r}")
    for name in given:
        if name not in tree:
            raise InputError(f"unknown key {where}{name}{_hint(str(name), where, tree)}")
    result = {}
    for name, node in tree.items():
        key = f"{where}{name}"
        if isinstance(node, Key):
            result[name] = _leaf(given[name], node, key) if name in given else copy.deepcopy(node.default)
        else:
            result[name] = _merge(given.get(name, {}), node, f"{key}.")
    return result


def _hint(name: str, where: str, tree: dict[str, Any]) -> str:
    close = nearest(name, tree)
    if close:
        return f"; did you mean {where}{close}?"
    elsewhere = [key for key, _ in leaves() if key.split(".")[-1].lower() == name.lower()]
    if elsewhere:
        return f"; did you mean {elsewhere[0]}?"
    return f"; valid here: {', '.join(sorted(tree))}"


def leaves(tree: dict[str, Any] = TREE, where: str = "") -> Iterator[tuple[str, Key]]:
    """All keys as (path, Key), the path with dots."""
    for name, node in tree.items():
        if isinstance(node, Key):
            yield f"{where}{name}", node
        else:
            yield from leaves(node, f"{where}{name}.")


def _leaf(value: Any, key: Key, path: str) -> Any:
    default = key.default
    if isinstance(default, bool):
        right = isinstance(value, bool)
    elif isinstance(default, float):
        if isinstance(value, str):  # YAML reads 1e-3, without a point, as text
            try:
                value = float(value)
            except ValueError:
                right = False
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
        value = float(value) if right else value
    elif isinstance(default, int):
        right = isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(default, str):
        # `gpus: 0` and `lr_step: 1.333` are numbers to YAML
        right = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        value = str(value) if right else value
    elif isinstance(default, list):
        right = isinstance(value, (list, tuple)) and all(_like_items(item, default) for item in value)
        value = list(value) if right else value
    else:
        right = isinstance(value, type(default))
    if not right:
        raise InputError(f"{path} must be {kind(default)}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{path} must be a finite number, not {value!r}")
    if key.choices and value not in key.choices:
        allowed = " or ".join(repr(choice) for choice in key.choices)
        raise InputError(f"{path} must be {allowed}, not {value!r}")
    return value


def _like_items(item: Any, default: list) -> bool:
    if not default or isinstance(default[0], str):
        return isinstance(item, str)
    kinds = int if _whole(default) else (int, float)
    return isinstance(item, kinds) and not isinstance(item, bool) and math.isfinite(item)


def _whole(default: list) -> bool:
    return all(isinstance(item, int) for item in default)


def kind(default: Any) -> str:
    """What a value must be, in words, by its default."""
    if isinstance(default, list):
        if not default or isinstance(default[0], str):
            return "a list of texts"
        return "a list of whole numbers" if _whole(default) else "a list of numbers"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a section"}
    return names[type(default)]


def _check_numbers(cfg: EasyDict) -> None:
    """Each by itself: lengths of lists, and what must be greater than 0."""
    for path, length in _LENGTHS.items():
        section, name = path.split(".")
        if len(cfg[section][name]) != length:
            raise InputError(f"{path} must have {length} numbers, not {len(cfg[section][name])}")
    for section, names in _POSITIVE.items():
        for name in names:
            path = f"{section}.{name}".lstrip(".")
            value = (cfg[section] if section else cfg)[name]
            numbers = value if isinstance(value, list) else [value]
            if not numbers:
                raise InputError(f"{path} must not be empty")
            if min(numbers) <= 0:
                raise InputError(f"{path} must be greater than 0, not {value}")


def _derive(cfg: EasyDict) -> None:
    """Values that follow from others; one that is given and differs is an error."""
    net = cfg.network
    _derived(net, "NUM_ANCHORS", len(net.ANCHOR_SCALES) * len(net.ANCHOR_RATIOS), "ANCHOR_SCALES x ANCHOR_RATIOS")
    _derived(net, "FGFA_FEAT_DIM", net.FEAT_DIM + net.EMBED_DIMS[-1], "FEAT_DIM + the last of EMBED_DIMS")


def _derived(section: EasyDict, name: str, value: int, source: str) -> None:
    if section[name] not in (0, value):
        raise InputError(f"network.{name} is {section[name]}, but {source} give {value}; leave it out")
    section[name] = value


def _check(cfg: EasyDict) -> None:
    net, train, test = cfg.network, cfg.TRAIN, cfg.TEST
    stride = 4 * math.prod(net.STRIDES)
    rules = [
        ("SCALES must be [short side, long side], short no longer than long", _pair(cfg.SCALES)),
        (f"network.RPN_FEAT_STRIDE is {net.RPN_FEAT_STRIDE}, but STRIDES give {stride}", net.RPN_FEAT_STRIDE == stride),
        ("network.RCNN_FEAT_STRIDE must equal network.RPN_FEAT_STRIDE", net.RCNN_FEAT_STRIDE == net.RPN_FEAT_STRIDE),
        ("network.FEAT_DIM must be even", net.FEAT_DIM % 2 == 0),
        ("network.ANCHOR_MEANS other than zeros are not supported", not any(net.ANCHOR_MEANS)),
        (
            f"network.FLOW_DECODER must have {len(net.FLOW_ENCODER) - 2} numbers, two fewer than FLOW_ENCODER",
            len(net.FLOW_DECODER) == len(net.FLOW_ENCODER) - 2,
        ),
        (
            f"network.FLOW_POOL_INPUT and FLOW_POOL_OUTPUT give flow of stride "
            f"{4 << net.FLOW_POOL_INPUT << net.FLOW_POOL_OUTPUT}, but the features have {stride}",
            4 << net.FLOW_POOL_INPUT << net.FLOW_POOL_OUTPUT == stride,
        ),
        ("TRAIN.end_epoch must be greater than TRAIN.begin_epoch", train.end_epoch > train.begin_epoch >= 0),
        ("TRAIN.MIN_OFFSET must be less than TRAIN.MAX_OFFSET", train.MIN_OFFSET < train.MAX_OFFSET),
        (
            "TRAIN.RPN_NEGATIVE_OVERLAP must not exceed TRAIN.RPN_POSITIVE_OVERLAP",
            train.RPN_NEGATIVE_OVERLAP <= train.RPN_POSITIVE_OVERLAP,
        ),
        ("TRAIN.lr_step must be numbers separated by commas", _numbers(train.lr_step)),
        ("TRAIN.RPN_POST_NMS_TOP_N must not exceed RPN_PRE_NMS_TOP_N", _nms_counts(train)),
        ("TEST.RPN_POST_NMS_TOP_N must not exceed RPN_PRE_NMS_TOP_N", _nms_counts(test)),
        ("TEST.KEY_FRAME_INTERVAL must be 0 or more", test.KEY_FRAME_INTERVAL >= 0),
        ("dataset.NUM_CLASSES must be at least 2: the background and a class", cfg.dataset.NUM_CLASSES >= 2),
        (
            "gpus must be numbers separated by commas, or empty",
            all(g.strip().isdigit() for g in cfg.gpus.split(",") if cfg.gpus),
        ),
    ]
    for message, holds in rules:
        if not holds:
            raise InputError(message)


def _pair(scales: list) -> bool:
    return len(scales) == 2 and 0 < scales[0] <= scales[1]


def _numbers(text: str) -> bool:
    try:
        return all(epoch >= 0 for epoch in lr_steps(text))
    except ValueError:
        return False


def _nms_counts(section: EasyDict) -> bool:
    return 0 < section.RPN_POST_NMS_TOP_N <= section.RPN_PRE_NMS_TOP_N


def lr_steps(text: str) -> list[float]:
    """TRAIN.lr_step as epochs."""
    return [float(part) for part in text.split(",") if part.strip()]
