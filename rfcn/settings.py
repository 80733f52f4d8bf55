"""Settings of the frame baseline. It has none of its own; it accepts and ignores those of the flow methods."""

from __future__ import annotations

from lib.config import COMMON
from lib.defaults import Tree, unused

# Accepted and ignored, so that a YAML file can serve both the baseline and methods that use several frames.
TREE: Tree = {
    "network": {
        "pretrained_flow": unused(""),
        "FGFA_FEAT_DIM": unused(0),
        "EMBED_DIMS": unused([512]),
        "FLOW_ENCODER": unused([64]),
        "FLOW_DECODER": unused([64]),
        "FLOW_POOL_INPUT": unused(True),
        "FLOW_POOL_OUTPUT": unused(True),
    },
    "TRAIN": {
        "MIN_OFFSET": unused(-9),
        "MAX_OFFSET": unused(9),
        "FLOW_LR_FACTOR": unused(1.0),
        "WARP": unused(True),
    },
    "TEST": {
        "KEY_FRAME_INTERVAL": unused(9),
        "KEY_FRAME_DURATION": unused(1),
        "FLOW_HOP": unused(0),
        "CLIP_ENDS": unused("repeat"),
        "causal": unused(False),
        "WARP": unused(True),
        "WEIGHTS": unused("cosine"),
    },
    "FLOW": {
        "pool": unused(8192),
        "lr": unused(6e-4),
        "steps": unused(24000),
        "batch": unused(8),
        "moving_weight": unused(5.0),
    },
}

SCHEMA = COMMON.extended(TREE, whole=True)
