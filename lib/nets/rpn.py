"""Region proposal network (Ren et al., NeurIPS 2015), directly on the features as in R-FCN (NeurIPS 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lib.backends.functions import Functions


@dataclass(frozen=True)
class Proposals:
    """Anchors, and how to make proposals from them. anchor_stds: factors that turn raw outputs into box deltas."""

    stride: int = 16
    scales: Sequence[float] = (8, 16, 32)
    ratios: Sequence[float] = (0.5, 1, 2)
    anchor_stds: Sequence[float] = (0.1, 0.1, 0.4, 0.4)
    pre_nms: int = 6000
    post_nms: int = 300
    nms_threshold: float = 0.7
    min_size: float = 0

    @property
    def anchors(self) -> int:
        return len(self.scales) * len(self.ratios)


def rpn(F: Functions, features, anchors: int) -> tuple[Any, Any]:
    """features (N, C, h, w) -> scores (N, 2A, h, w), background first; raw box outputs (N, 4A, h, w)."""
    scores = F.Convolution(features, name="rpn_cls_score", num_filter=2 * anchors, kernel=(1, 1))
    boxes = F.Convolution(features, name="rpn_bbox_pred", num_filter=4 * anchors, kernel=(1, 1))
    return scores, boxes


def rpn_losses(F: Functions, scores, boxes, batch_size: int) -> dict:
    """Training outputs rpn_cls_prob (N, 2, A h, w) and rpn_bbox_loss (N, 4A, h, w).

    The class loss is the mean over labels other than -1; the box loss is divided by the constant `batch_size`.
    """
    label, target, weight = (F.Variable(name) for name in ("label", "bbox_target", "bbox_weight"))
    cls_prob = F.SoftmaxOutput(
        F.reshape(scores, (0, 2, -1, 0)),
        label,
        multi_output=True,
        normalization="valid",
        use_ignore=True,
        ignore_label=-1,
        name="rpn_cls_prob",
    )
    loss = weight * F.smooth_l1(boxes - target, scalar=1.0)
    bbox_loss = F.MakeLoss(loss, grad_scale=1.0 / batch_size, name="rpn_bbox_loss")
    return {"rpn_cls_prob": cls_prob, "rpn_bbox_loss": bbox_loss}


def proposal_inputs(F: Functions, scores, boxes, net: Proposals) -> tuple[Any, Any]:
    """Inputs of the proposals: probabilities (N, 2A, h, w), background first; box deltas (N, 4A, h, w)."""
    prob = F.softmax(F.reshape(scores, (0, 2, -1, 0)), axis=1)
    stds = list(net.anchor_stds) * net.anchors
    deltas = F.broadcast_mul(boxes, F.reshape(_constant(F, stds), (1, -1, 1, 1)))
    return F.reshape(prob, (0, 2 * net.anchors, -1, 0)), deltas


def propose(F: Functions, scores, boxes, im_info, net: Proposals):
    """Region proposals: rois (N post_nms, 5): image index, x1 y1 x2 y2 in pixels of the resized image."""
    return F.multi_proposal(
        *proposal_inputs(F, scores, boxes, net),
        im_info,
        feature_stride=net.stride,
        scales=net.scales,
        ratios=net.ratios,
        pre_nms_top_n=net.pre_nms,
        post_nms_top_n=net.post_nms,
        nms_threshold=net.nms_threshold,
        min_size=net.min_size,
        name="rois",
    )


def _constant(F: Functions, values: Sequence[float]):
    """A constant array that is not a parameter in the checkpoint."""
    parts = [F.full(shape=(1,), val=float(value)) for value in values]
    return F.concat(*parts, dim=0)
