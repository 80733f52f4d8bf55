"""From features to losses or detections: the final part of all methods based on R-FCN."""

from __future__ import annotations

from typing import Any

from easydict import EasyDict

from lib.backends.functions import Functions
from lib.nets import sizes
from lib.nets.part import Part
from lib.nets.resnet import feature_map
from lib.nets.rfcn_head import MAPS, head_losses, head_maps, head_outputs, rfcn_head
from lib.nets.rpn import proposal_inputs, propose, rpn, rpn_losses

BOX_CLASSES = 2  # class-agnostic: background and foreground


def backbone(F: Functions, data, cfg: EasyDict, eps: float):
    """data (N, 3, H, W) -> (N, FEAT_DIM, h, w). eps: of BatchNorm."""
    return feature_map(F, data, sizes.backbone(cfg, eps), cfg.network.FEAT_DIM, cfg.network.FEAT_DILATION)


def heads_part(cfg: EasyDict, about: str) -> Part:
    """RPN and R-FCN head as a `Part`: features (N, FEAT_DIM, h, w) -> the maps of `detection_maps`."""
    net = cfg.network
    inputs = {"features": net.FEAT_DIM}
    return Part(lambda F: detection_maps(F, F.Variable("features"), cfg), inputs, net.RCNN_FEAT_STRIDE, about)


def _halves(F: Functions, features, cfg: EasyDict) -> tuple[Any, Any]:
    """(channels for the RPN, channels for the R-FCN head)."""
    half = cfg.network.FEAT_DIM // 2
    return F.slice_axis(features, 1, 0, half), F.slice_axis(features, 1, half, 2 * half)


def _head(F: Functions, features, rois, cfg: EasyDict) -> tuple[Any, Any]:
    net = cfg.network
    return rfcn_head(F, features, rois, cfg.dataset.NUM_CLASSES, BOX_CLASSES, net.PSROI_SIZE, net.RCNN_FEAT_STRIDE)


def training_losses(F: Functions, features, cfg: EasyDict) -> dict:
    """features (1, C, h, w) -> the training outputs rpn_cls_prob, rpn_bbox_loss, cls_prob_reshape, bbox_loss_reshape,
    blockgrad0 (the head's labels). No gradient flows through the proposals.

    Inputs: im_info (1, 3), gt_boxes (1, G, 5), label, bbox_target, bbox_weight.
    """
    train = cfg.TRAIN
    for_rpn, for_head = _halves(F, features, cfg)
    scores, boxes = rpn(F, for_rpn, cfg.network.NUM_ANCHORS)
    rpn_outputs = rpn_losses(F, scores, boxes, train.RPN_BATCH_SIZE)
    rois = propose(F, F.BlockGrad(scores), F.BlockGrad(boxes), F.Variable("im_info"), sizes.proposals(cfg, train))
    rois, label, bbox_target, bbox_weight = F.proposal_target(
        rois,
        F.Variable("gt_boxes"),
        num_reg_classes=BOX_CLASSES,
        batch_rois=train.BATCH_ROIS,
        fg_fraction=train.FG_FRACTION,
        fg_thresh=train.FG_THRESH,
        bg_thresh_hi=train.BG_THRESH_HI,
        bg_thresh_lo=train.BG_THRESH_LO,
        regression_thresh=train.BBOX_REGRESSION_THRESH,
        bbox_means=train.BBOX_MEANS,
        bbox_stds=train.BBOX_STDS,
        bbox_weights=train.BBOX_WEIGHTS,
        name="proposal_target",
    )
    cls_score, bbox_pred = _head(F, for_head, rois, cfg)
    label, bbox_weight = F.ohem(
        cls_score, bbox_pred, label, bbox_target, bbox_weight, rois_per_image=train.BATCH_ROIS_OHEM, name="ohem"
    )
    losses = head_losses(
        F, cls_score, bbox_pred, label, bbox_target, bbox_weight, train.BATCH_IMAGES, train.BATCH_ROIS_OHEM
    )
    return {**rpn_outputs, **losses}


def detections(F: Functions, features, cfg: EasyDict) -> dict:
    """features (N, C, h, w) -> rois (N R, 5), cls_prob_reshape (N, R, classes), bbox_pred_reshape (N, R, 8).

    Input: im_info (N, 3).
    """
    for_rpn, for_head = _halves(F, features, cfg)
    scores, boxes = rpn(F, for_rpn, cfg.network.NUM_ANCHORS)
    rois = propose(F, scores, boxes, F.Variable("im_info"), sizes.proposals(cfg, cfg.TEST))
    return {"rois": rois, **head_outputs(F, *_head(F, for_head, rois, cfg), cfg.TEST.RPN_POST_NMS_TOP_N)}


def detection_maps(F: Functions, features, cfg: EasyDict) -> dict:
    """Only the convolutions of `detections`, before proposals and pooling.

    features (N, C, h, w) -> rpn_prob (N, 2A, h, w), background first; rpn_deltas (N, 4A, h, w); rfcn_cls and rfcn_bbox,
    see `head_maps`.
    """
    for_rpn, for_head = _halves(F, features, cfg)
    prob, deltas = proposal_inputs(F, *rpn(F, for_rpn, cfg.network.NUM_ANCHORS), sizes.proposals(cfg, cfg.TEST))
    maps = head_maps(F, for_head, cfg.dataset.NUM_CLASSES, BOX_CLASSES, cfg.network.PSROI_SIZE)
    return {
        "rpn_prob": F.identity(prob, name="rpn_prob"),
        "rpn_deltas": F.identity(deltas, name="rpn_deltas"),
        **dict(zip(MAPS, maps)),
    }
