"""Converts settings to sizes of the networks."""

from __future__ import annotations

from easydict import EasyDict

from lib.config import Rule
from lib.nets.flownet import FlowNet
from lib.nets.resnet import Backbone
from lib.nets.rpn import Proposals


def backbone(cfg: EasyDict, eps: float) -> Backbone:
    net = cfg.network
    sizes = (net.UNITS, net.WIDTHS, net.STRIDES, net.DILATIONS, net.STEM)
    return Backbone(*sizes, eps, stride_in_3x3=net.STRIDE_IN_3X3)


def flownet(cfg: EasyDict) -> FlowNet:
    net = cfg.network
    return FlowNet(net.FLOW_ENCODER, net.FLOW_DECODER, net.FLOW_POOL_INPUT, net.FLOW_POOL_OUTPUT)


def proposals(cfg: EasyDict, section: EasyDict) -> Proposals:
    """section: cfg.TRAIN or cfg.TEST."""
    net = cfg.network
    return Proposals(
        net.RPN_FEAT_STRIDE,
        net.ANCHOR_SCALES,
        net.ANCHOR_RATIOS,
        net.ANCHOR_STDS,
        section.RPN_PRE_NMS_TOP_N,
        section.RPN_POST_NMS_TOP_N,
        section.RPN_NMS_THRESH,
        section.RPN_MIN_SIZE,
    )


def flow_rules(cfg: EasyDict) -> list[Rule]:
    """Conditions that the settings of a flow network must meet."""
    net = cfg.network
    stride = 4 << net.FLOW_POOL_INPUT << net.FLOW_POOL_OUTPUT
    return [
        (
            f"network.FLOW_DECODER must have {len(net.FLOW_ENCODER) - 2} numbers, two fewer than FLOW_ENCODER",
            len(net.FLOW_DECODER) == len(net.FLOW_ENCODER) - 2,
        ),
        (
            f"network.FLOW_POOL_INPUT and FLOW_POOL_OUTPUT give flow of stride {stride}, but the features have "
            f"{net.RPN_FEAT_STRIDE}",
            stride == net.RPN_FEAT_STRIDE,
        ),
    ]
