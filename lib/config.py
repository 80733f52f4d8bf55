"""Loads YAML settings over the defaults and checks them; errors name the key."""

from __future__ import annotations

import copy
import functools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from easydict import EasyDict

from lib.defaults import TREE, Key, Tree
from lib.errors import LONGEST, InputError, nearest, quoted, read_text
from lib.reading import is_plain, parse_yaml

MOST_ITEMS = 1000  # of a list
LARGEST_NUMBER = 10**9
LARGEST_SIDE, MOST_PIXELS = 2**13, 2**24  # of the network's input
LARGEST_DILATION = 1000
MOST_PROPOSALS = 50_000  # of an image, before NMS
MOST_UNITS = 1000  # residual units of the backbone

Rule = tuple[str, bool]  # (message, whether the rule holds)


@dataclass(frozen=True)
class Schema:
    """The settings that a YAML file may contain.

    tree: keys and sections. rules: (cfg) -> rules that relate several values. derive: fills in values that follow from
    others. whole: whether unknown keys are errors; where the method is not known, its keys are ignored. method: the
    one whose files it accepts, besides those that name none; "": all files.
    """

    tree: Tree
    rules: Callable[[EasyDict], Sequence[Rule]] = lambda cfg: ()
    derive: Callable[[EasyDict], None] = lambda cfg: None
    whole: bool = True
    method: str = ""

    def extended(self, *trees: Tree, **changes: Any) -> Schema:
        """This schema with the keys of other trees added."""
        return replace(self, tree=functools.reduce(joined, trees, self.tree), **changes)


def joined(first: Tree, second: Tree) -> Tree:
    """The keys of both trees."""
    result = {**first, **second}
    for name in set(first) & set(second):
        if isinstance(first[name], Key) or isinstance(second[name], Key):
            raise ValueError(f"settings key {name} is defined twice")
        result[name] = joined(first[name], second[name])
    return result


COMMON = Schema(TREE, whole=False)


def load_config(path: str | Path, overrides: Sequence[str] = (), schema: Schema = COMMON) -> EasyDict:
    """Settings of a YAML file over the defaults.

    overrides: `KEY.PATH=VALUE` strings, which take precedence over the file. schema: that of the method
    (`METHOD.schema`); without it, only the keys that all methods share are read. Raises InputError, naming file and
    key, for a missing file, invalid YAML, an unknown key (with the closest valid one), a wrong type, or values that
    contradict each other.
    """
    path = Path(path)
    text = read_text(path, "pass an existing YAML file with --cfg", "cannot read the settings")
    given = parse_yaml(text, path)
    changed = copy.deepcopy(given) if given is not None else {}
    try:
        for text in overrides if isinstance(changed, dict) else ():
            _override(changed, text)
        return make_config(changed, schema)
    except InputError as error:
        raise InputError(f"{path if _faulty(given, schema) else '--set'}: {error}") from None


def _faulty(given: Any, schema: Schema) -> bool:
    """Whether settings are invalid by themselves."""
    try:
        make_config(given if given is not None else {}, schema)
    except InputError:
        return True
    return False


def _override(given: dict[str, Any], text: str) -> None:
    """Sets `KEY.PATH=VALUE` in nested settings; VALUE is read as YAML."""
    path, equals, value = text.partition("=")
    *sections, name = path.split(".")
    if not equals or not name:
        raise InputError(f"{quoted(text)}: write KEY.PATH=VALUE, for example TEST.KEY_FRAME_INTERVAL=5")
    for section in sections:
        given = given.setdefault(section, {})
        if not isinstance(given, dict):
            raise InputError(f"{quoted(text)}: {section} is not a section")
    try:
        given[name] = parse_yaml(value, "") if value else ""  # `gpus=` selects the CPU
    except InputError:
        raise InputError(f"{quoted(text)}: {quoted(value)} is not a YAML value") from None


def make_config(given: dict[str, Any], schema: Schema = COMMON) -> EasyDict:
    """Settings of a nested dict over the defaults, checked as in `load_config`."""
    method = given.get("method") if isinstance(given, dict) else None
    if schema.method and method not in (None, "", schema.method):
        message = f"method is {quoted(method)}, but this script is for {schema.method}"
        raise InputError(f"{message}; use the scripts of that method, or another file")
    cfg = EasyDict(_merge(given, schema.tree, "", schema))
    _derive(cfg)
    schema.derive(cfg)
    for message, holds in (*_rules(cfg), *schema.rules(cfg)):
        if not holds:
            raise InputError(message)
    return cfg


def _merge(given: Any, tree: Tree, where: str, schema: Schema) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InputError(f"{where.rstrip('.') or 'the file'} must hold `key: value` lines, not {quoted(given)}")
    for name in given if schema.whole else ():
        if name not in tree:
            raise InputError(f"unknown key {where}{str(name)[:LONGEST]}{_hint(str(name), where, tree, schema.tree)}")
    result = {}
    for name, node in tree.items():
        key = f"{where}{name}"
        if isinstance(node, Key):
            result[name] = _leaf(given[name], node, key) if name in given else copy.deepcopy(node.default)
        else:
            result[name] = _merge(given.get(name, {}), node, f"{key}.", schema)
    return result


def _hint(name: str, where: str, tree: Tree, whole: Tree) -> str:
    close = nearest(name, tree)
    if close:
        return f"; did you mean {where}{close}?"
    elsewhere = [key for key, _ in leaves(whole) if key.split(".")[-1].lower() == name.lower()]
    if elsewhere:
        return f"; did you mean {elsewhere[0]}?"
    return f"; valid here: {', '.join(sorted(tree))}"


def leaves(tree: Tree, where: str = "") -> Iterator[tuple[str, Key]]:
    """All keys as (dotted path, Key)."""
    for name, node in tree.items():
        if isinstance(node, Key):
            yield f"{where}{name}", node
        else:
            yield from leaves(node, f"{where}{name}.")


def _leaf(value: Any, key: Key, path: str) -> Any:
    default = key.default
    if key.several and isinstance(value, list) and value and all(isinstance(item, list) for item in value):
        return [_leaf(item, key._replace(several=False), path) for item in value]
    if isinstance(default, bool):
        right = isinstance(value, bool)
    elif isinstance(default, float):
        if isinstance(value, str) and len(value) < 100:  # YAML reads 1e-3, without a decimal point, as a string
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
        raise InputError(f"{path} must be {kind(key)}, not {quoted(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{path} must be a finite number, not {quoted(value)}")
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) > MOST_ITEMS:
        raise InputError(f"{path} must have at most {MOST_ITEMS} items, not {len(numbers)}")
    if any(isinstance(each, (int, float)) and abs(each) > LARGEST_NUMBER for each in numbers):
        raise InputError(f"{path} must not exceed {LARGEST_NUMBER}, not {quoted(value)}")
    if key.choices and value not in key.choices:
        allowed = " or ".join(repr(choice) for choice in key.choices)
        raise InputError(f"{path} must be {allowed}, not {quoted(value)}")
    if key.length is not None and len(value) != key.length:
        raise InputError(f"{path} must have {key.length} numbers, not {len(value)}")
    if key.positive:
        if not numbers:
            raise InputError(f"{path} must not be empty")
        if min(numbers) <= 0:
            raise InputError(f"{path} must be greater than 0, not {quoted(value)}")
    return value


def _like_items(item: Any, default: list) -> bool:
    if not default or isinstance(default[0], str):
        return isinstance(item, str)
    kinds = int if _whole(default) else (int, float)
    return isinstance(item, kinds) and not isinstance(item, bool) and math.isfinite(item)


def _whole(default: list) -> bool:
    return all(isinstance(item, int) for item in default)


def kind(key: Key) -> str:
    """The type of a key in words."""
    default = key.default
    if isinstance(default, list):
        if not default or isinstance(default[0], str):
            return "a list of strings"
        return f"a list of {'whole ' * _whole(default)}numbers{', or a list of such lists' * key.several}"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", dict: "a section"}
    return names[type(default)]


def _derive(cfg: EasyDict) -> None:
    """Fills in values that follow from others. Raises InputError if the settings give another value."""
    net = cfg.network
    derive(net, "NUM_ANCHORS", len(net.ANCHOR_SCALES) * len(net.ANCHOR_RATIOS), "ANCHOR_SCALES x ANCHOR_RATIOS")


def derive(section: EasyDict, name: str, value: int, source: str) -> None:
    """Sets network.<name> to `value`. Raises InputError if the settings give another value, except 0."""
    if section[name] not in (0, value):
        raise InputError(f"network.{name} is {section[name]}, but {source} give {value}; leave it out")
    section[name] = value


def _rules(cfg: EasyDict) -> Sequence[Rule]:
    net, train, test = cfg.network, cfg.TRAIN, cfg.TEST
    stride = 4 * math.prod(net.STRIDES)
    return [
        (
            "SCALES must be [short side, long side], short no longer than long, or a list of such pairs",
            all(len(pair) == 2 and 0 < pair[0] <= pair[1] for pair in pairs(cfg.SCALES)),
        ),
        (f"network.RPN_FEAT_STRIDE is {net.RPN_FEAT_STRIDE}, but STRIDES give {stride}", net.RPN_FEAT_STRIDE == stride),
        ("network.RCNN_FEAT_STRIDE must equal network.RPN_FEAT_STRIDE", net.RCNN_FEAT_STRIDE == net.RPN_FEAT_STRIDE),
        ("network.FEAT_DIM must be even", net.FEAT_DIM % 2 == 0),
        ("network.ANCHOR_MEANS other than zeros are not supported", not any(net.ANCHOR_MEANS)),
        ("TRAIN.end_epoch must be greater than TRAIN.begin_epoch", train.end_epoch > train.begin_epoch >= 0),
        (
            "TRAIN.RPN_NEGATIVE_OVERLAP must not exceed TRAIN.RPN_POSITIVE_OVERLAP",
            train.RPN_NEGATIVE_OVERLAP <= train.RPN_POSITIVE_OVERLAP,
        ),
        ("TRAIN.lr_step must be numbers separated by commas", _numbers(train.lr_step)),
        ("TRAIN.RPN_POST_NMS_TOP_N must not exceed RPN_PRE_NMS_TOP_N", _nms_counts(train)),
        ("TEST.RPN_POST_NMS_TOP_N must not exceed RPN_PRE_NMS_TOP_N", _nms_counts(test)),
        (
            f"RPN_PRE_NMS_TOP_N must not exceed {MOST_PROPOSALS}",
            max(train.RPN_PRE_NMS_TOP_N, test.RPN_PRE_NMS_TOP_N) <= MOST_PROPOSALS,
        ),
        ("dataset.NUM_CLASSES must be at least 2: the background and a class", cfg.dataset.NUM_CLASSES >= 2),
        *(
            (f"TRAIN.AUGMENT.{name} must be from 0 to {limit}", 0 <= train.AUGMENT[name] <= limit)
            for name, limit in {"BRIGHTNESS": 1, "CONTRAST": 1, "SATURATION": 1, "HUE": 0.5, "SCALE": 0.5}.items()
        ),
        (
            f"SCALES must not exceed {LARGEST_SIDE} pixels a side and {MOST_PIXELS} in all, with TRAIN.AUGMENT.SCALE",
            all(_fits(pair, 1 + train.AUGMENT.SCALE) for pair in pairs(cfg.SCALES)),
        ),
        (f"network.UNITS must not exceed {MOST_UNITS} in all", sum(net.UNITS) <= MOST_UNITS),
        (
            f"network.DILATIONS and FEAT_DILATION must not exceed {LARGEST_DILATION}",
            max(net.FEAT_DILATION, *net.DILATIONS) <= LARGEST_DILATION,
        ),
        ("TRAIN.SEED must be 0 or more", train.SEED >= 0),
        ("TRAIN.EMA must be at least 0 and less than 1", 0 <= train.EMA < 1),
        *(
            (f"{key} is {quoted(value)}: a name may have letters, digits, blanks and _ . + - only", is_plain(value))
            for key, value in {
                "dataset.dataset": cfg.dataset.dataset,
                "dataset.image_set": cfg.dataset.image_set,
                "dataset.test_image_set": cfg.dataset.test_image_set,
                "TRAIN.model_prefix": train.model_prefix,
                "TRAIN.VALIDATE_SET": train.VALIDATE_SET or "none",
            }.items()
        ),
        (
            "gpus must be numbers separated by commas, or empty",
            all(re.fullmatch(r"\s*[0-9]{1,4}\s*", g) for g in cfg.gpus.split(",") if cfg.gpus),
        ),
    ]


def pairs(scales: list) -> list[list[int]]:
    """SCALES, which is a pair or a list of pairs, as a list of [short side, long side]."""
    return scales if isinstance(scales[0], list) else [scales]


def _numbers(text: str) -> bool:
    try:
        return all(epoch >= 0 for epoch in lr_steps(text))
    except ValueError:
        return False


def _fits(pair: Sequence[float], factor: float) -> bool:
    """Whether the network's input may have these sides, times the factor."""
    sides = [side * factor for side in pair]
    return max(sides) <= LARGEST_SIDE and math.prod(sides) <= MOST_PIXELS


def _nms_counts(section: EasyDict) -> bool:
    return 0 < section.RPN_POST_NMS_TOP_N <= section.RPN_PRE_NMS_TOP_N


def lr_steps(text: str) -> list[float]:
    """TRAIN.lr_step as a list of epochs."""
    return [float(part) for part in text.split(",") if part.strip()]
