"""Settings of Deep Feature Flow only."""

from __future__ import annotations

from collections.abc import Sequence

from easydict import EasyDict

from lib.config import COMMON, Rule
from lib.defaults import FLOW_TREE, Key, Tree
from lib.nets.sizes import flow_rules

TREE: Tree = {
    "TRAIN": {
        "MIN_OFFSET": Key(-9, "The key frame of a training frame is drawn at random from MIN_OFFSET ..."),
        "MAX_OFFSET": Key(0, "... to MAX_OFFSET frames away."),
    },
    "TEST": {
        "KEY_FRAME_INTERVAL": Key(
            10,
            "Distance of key frames: with 10, frames 0, 10, 20, ... of a clip. In FGFA, this key is half the window.",
        ),
    },
}


def _rules(cfg: EasyDict) -> Sequence[Rule]:
    train, test = cfg.TRAIN, cfg.TEST
    return [
        *flow_rules(cfg),
        ("TRAIN.MIN_OFFSET must not exceed TRAIN.MAX_OFFSET", train.MIN_OFFSET <= train.MAX_OFFSET),
        (
            "TEST.KEY_FRAME_INTERVAL must be 1 or more: it is the distance of key frames in DFF",
            test.KEY_FRAME_INTERVAL >= 1,
        ),
    ]


SCHEMA = COMMON.extended(FLOW_TREE, TREE, rules=_rules, whole=True, method="dff_rfcn")
