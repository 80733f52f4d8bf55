"""Settings of FGFA only."""

from __future__ import annotations

from collections.abc import Sequence

from easydict import EasyDict

from lib.config import COMMON, Rule, derive
from lib.defaults import FLOW_TREE, Key, Tree
from lib.nets.sizes import flow_rules

TREE: Tree = {
    "network": {
        "FGFA_FEAT_DIM": Key(0, "Channels of features plus embedding. 0: computed; a wrong number is an error."),
        "EMBED_DIMS": Key([512, 512, 2048], "Channels of em_conv1, em_conv2, em_conv3.", length=3, positive=True),
    },
    "TRAIN": {
        "MIN_OFFSET": Key(-9, "Neighbours of a training frame are drawn at random from MIN_OFFSET ..."),
        "MAX_OFFSET": Key(9, "... to MAX_OFFSET frames away."),
        "WARP": Key(True, "Warp neighbours with the flow; false trains FGFA without flow, for comparison."),
    },
    "TEST": {
        "KEY_FRAME_INTERVAL": Key(
            9,
            "K: FGFA aggregates the 2K + 1 frames around a frame. In DFF, this key is the distance of key frames.",
        ),
        "KEY_FRAME_DURATION": Key(
            1,
            "Run the backbone only on every N-th frame, the key frames; features of the frames between are warped from "
            "the aggregated ones of the key frames around them. Above KEY_FRAME_INTERVAL, windows have a single key "
            "frame, so nothing is aggregated. 1: on every frame, as published.",
            positive=True,
        ),
        "FLOW_HOP": Key(
            0,
            "Frames at most this far apart pass through the flow network, and longer flows are chained from theirs. "
            "0: every pair of a window passes, as published.",
        ),
        "CLIP_ENDS": Key(
            "repeat",
            "Windows at the ends of a clip repeat its first or last frame, as published, or are shorter.",
            ("repeat", "shorten"),
        ),
        "causal": Key(False, "Aggregate only the current and earlier frames, for live use."),
        "WARP": Key(True, "Warp neighbours with the flow; false for comparison."),
        "WEIGHTS": Key("cosine", "Weights of the frames: by cosine, or all equal for comparison.", ("cosine", "mean")),
    },
}


def _rules(cfg: EasyDict) -> Sequence[Rule]:
    train, test = cfg.TRAIN, cfg.TEST
    return [
        *flow_rules(cfg),
        ("TRAIN.MIN_OFFSET must be less than TRAIN.MAX_OFFSET", train.MIN_OFFSET < train.MAX_OFFSET),
        ("TEST.KEY_FRAME_INTERVAL must be 0 or more: it is half of FGFA's window", test.KEY_FRAME_INTERVAL >= 0),
        ("TEST.FLOW_HOP must be 0 or more", test.FLOW_HOP >= 0),
    ]


def _derive(cfg: EasyDict) -> None:
    net = cfg.network
    derive(net, "FGFA_FEAT_DIM", net.FEAT_DIM + net.EMBED_DIMS[-1], "FEAT_DIM + the last of EMBED_DIMS")


SCHEMA = COMMON.extended(FLOW_TREE, TREE, rules=_rules, derive=_derive, whole=True, method="fgfa_rfcn")
