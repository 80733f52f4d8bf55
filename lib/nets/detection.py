"""From features to losses or detections: the part that every R-FCN method ends with."""

from __future__ import annotations

from easydict import EasyDict

from lib.backends.mxnet.loader import mx
from lib.nets.rfcn_head import head_losses, head_maps, head_outputs, rfcn_head
from lib.nets.rpn import proposal_inputs, propose, rpn, rpn_losses
from lib.nets.sizes import operators, proposals
from lib.ops.ohem import ohem
from lib.ops.proposal_target import proposal_target

BOX_CLASSES = 2  # class-agnostic: background and foreground


def _halves(features, cfg: EasyDict):
    """Channels for the RPN, channels for the R-FCN head."""
    half = cfg.network.FEAT_DIM // 2
    return mx.sym.slice_axis(features, 1, 0, half), mx.sym.slice_axis(features, 1, half, 2 * half)


def _head(features, rois, cfg: EasyDict):
    net = cfg.network
    return rfcn_head(
        features, rois, cfg.dataset.NUM_CLASSES, BOX_CLASSES, net.PSROI_SIZE, net.RCNN_FEAT_STRIDE, operators(cfg)
    )


def training_losses(features, cfg: EasyDict):
    """features (1, C, h, w) -> the group of five training outputs (rpn_cls_prob, rpn_bbox_loss,
    cls_prob_reshape, bbox_loss_reshape, blockgrad0). No gradient passes through the proposals.
    """
    train = cfg.TRAIN
    for_rpn, for_head = _halves(features, cfg)
    scores, boxes = rpn(for_rpn, cfg.network.NUM_ANCHORS)
    rpn_outputs = rpn_losses(scores, boxes, train.RPN_BATCH_SIZE)
    rois = propose(
        mx.sym.BlockGrad(scores),
        mx.sym.BlockGrad(boxes),
        mx.sym.Variable("im_info"),
        proposals(cfg, train),
        operators(cfg),
    )
    rois, label, bbox_target, bbox_weight = proposal_target(
        rois,
        mx.sym.Variable("gt_boxes"),
        num_classes=BOX_CLASSES,
        batch_images=train.BATCH_IMAGES,
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
    cls_score, bbox_pred = _head(for_head, rois, cfg)
    label, bbox_weight = ohem(
        cls_score, bbox_pred, label, bbox_target, bbox_weight, rois_per_image=train.BATCH_ROIS_OHEM, name="ohem"
    )
    losses = head_losses(
        cls_score, bbox_pred, label, bbox_target, bbox_weight, train.BATCH_IMAGES, train.BATCH_ROIS_OHEM
    )
    return mx.sym.Group([*rpn_outputs, *losses])


def detections(features, cfg: EasyDict) -> list:
    """features (N, C, h, w) -> [rois (N R, 5), cls_prob_reshape (N, R, classes), bbox_pred_reshape (N, R, 8)]."""
    for_rpn, for_head = _halves(features, cfg)
    scores, boxes = rpn(for_rpn, cfg.network.NUM_ANCHORS)
    rois = propose(scores, boxes, mx.sym.Variable("im_info"), proposals(cfg, cfg.TEST), operators(cfg))
    return [rois, *head_outputs(*_head(for_head, rois, cfg), cfg.TEST.RPN_POST_NMS_TOP_N)]


def detection_maps(features, cfg: EasyDict):
    """The convolutions of `detections` alone, which stand before proposals and pooling: features (N, C, h, w) -> the
    group rpn_prob (N, 2A, h, w), background first; rpn_deltas (N, 4A, h, w); rfcn_cls and rfcn_bbox of `head_maps`.
    """
    for_rpn, for_head = _halves(features, cfg)
    prob, deltas = proposal_inputs(*rpn(for_rpn, cfg.network.NUM_ANCHORS), proposals(cfg, cfg.TEST))
    maps = head_maps(for_head, cfg.dataset.NUM_CLASSES, BOX_CLASSES, cfg.network.PSROI_SIZE)
    return mx.sym.Group([mx.sym.identity(prob, name="rpn_prob"), mx.sym.identity(deltas, name="rpn_deltas"), *maps])
