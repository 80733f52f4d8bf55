"""From settings to sizes: the defaults are the published ones."""

from __future__ import annotations

from lib.backends.choice import backend_of
from lib.backends.mxnet.functions import Builtin, Compiled
from lib.config import make_config
from lib.methods import METHODS
from lib.nets import sizes
from lib.nets.flownet import FlowNet
from lib.nets.resnet import Backbone
from lib.nets.rpn import Proposals
from tests.conftest import needs

SCHEMA = METHODS["fgfa_rfcn"].schema


def listed(sizes):
    """Fields, with lists as tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in vars(sizes).items()}


def test_published_sizes():
    cfg = make_config({}, SCHEMA)
    assert listed(sizes.backbone(cfg, 2e-5)) == listed(Backbone(eps=2e-5))
    assert listed(sizes.flownet(cfg)) == listed(FlowNet())
    for section in (cfg.TRAIN, cfg.TEST):
        assert listed(sizes.proposals(cfg, section)) == listed(Proposals())
    assert Proposals().anchors == 9


def test_other_settings_reach_their_place():
    network = {
        "UNITS": [1, 2, 3, 4],
        "WIDTHS": [5, 6, 7, 8],
        "STRIDES": [1, 2, 1, 1],
        "DILATIONS": [1, 1, 2, 4],
        "STEM": 9,
        "STRIDE_IN_3X3": True,
        "RPN_FEAT_STRIDE": 8,
        "RCNN_FEAT_STRIDE": 8,
        "ANCHOR_SCALES": [3],
        "ANCHOR_RATIOS": [2],
        "ANCHOR_STDS": [1, 2, 3, 4],
        "FLOW_ENCODER": [4, 5, 6, 7],
        "FLOW_DECODER": [8, 9],
        "FLOW_POOL_INPUT": False,
    }
    proposals = {"RPN_PRE_NMS_TOP_N": 11, "RPN_POST_NMS_TOP_N": 10, "RPN_NMS_THRESH": 0.5, "RPN_MIN_SIZE": 4}
    cfg = make_config({"network": network, "TEST": proposals}, SCHEMA)
    expected = Backbone((1, 2, 3, 4), (5, 6, 7, 8), (1, 2, 1, 1), (1, 1, 2, 4), 9, 1e-5, stride_in_3x3=True)
    assert listed(sizes.backbone(cfg, 1e-5)) == listed(expected)
    assert listed(sizes.flownet(cfg)) == listed(FlowNet((4, 5, 6, 7), (8, 9), False, True))
    assert listed(sizes.proposals(cfg, cfg.TEST)) == listed(Proposals(8, (3,), (2,), (1, 2, 3, 4), 11, 10, 0.5, 4))
    assert sizes.proposals(cfg, cfg.TRAIN).pre_nms == 6000


def test_operators():
    needs("mxnet")
    assert type(backend_of(make_config({})).functions) is Compiled
    assert type(backend_of(make_config({"network": {"OPERATORS": "builtin"}})).functions) is Builtin
