"""Position-sensitive heads of R-FCN (Dai et al., NeurIPS 2016)."""

from __future__ import annotations

from typing import Any

from lib.backends.functions import Functions

MAPS = ("rfcn_cls", "rfcn_bbox")


def head_maps(F: Functions, features, classes: int, box_classes: int, group: int) -> tuple[Any, Any]:
    """The maps to be pooled: features (N, C, h, w) -> rfcn_cls (N, group^2 * classes, h, w) and
    rfcn_bbox (N, group^2 * 4 * box_classes, h, w).
    """
    scores, boxes = (
        F.Convolution(features, name=name, num_filter=group * group * dim, kernel=(1, 1))
        for name, dim in zip(MAPS, (classes, 4 * box_classes))
    )
    return scores, boxes


def rfcn_head(F: Functions, features, rois, classes: int, box_classes: int, group: int, stride: int) -> tuple[Any, Any]:
    """Scores and boxes of each roi, by position-sensitive pooling averaged over the bins.

    features (N, C, h, w); rois (R, 5) -> cls_score (R, classes), background first; bbox_pred (R, 4 * box_classes),
    normalised by BBOX_STDS.
    """
    scores, boxes = (
        F.psroi_mean(maps, rois, output_dim=dim, group_size=group, spatial_scale=1.0 / stride, name=f"{name}_rois")
        for name, maps, dim in zip(
            MAPS, head_maps(F, features, classes, box_classes, group), (classes, 4 * box_classes)
        )
    )
    return scores, boxes


def head_losses(
    F: Functions, cls_score, bbox_pred, label, bbox_target, bbox_weight, images: int, batch_size: int
) -> dict:
    """Training outputs cls_prob_reshape (N, R, C), bbox_loss_reshape (N, R, 4 * box_classes), labels (N, R).

    label (R,): rois with -1 are ignored. The class loss is the mean over the others; the box loss is divided by the
    constant `batch_size`.
    """
    cls_prob = F.SoftmaxOutput(
        cls_score, label, normalization="valid", use_ignore=True, ignore_label=-1, name="cls_prob"
    )
    loss = bbox_weight * F.smooth_l1(bbox_pred - bbox_target, scalar=1.0)
    bbox_loss = F.MakeLoss(loss, grad_scale=1.0 / batch_size, name="bbox_loss")
    return {
        "cls_prob_reshape": F.reshape(cls_prob, (-4, images, -1, 0), name="cls_prob_reshape"),
        "bbox_loss_reshape": F.reshape(bbox_loss, (-4, images, -1, 0), name="bbox_loss_reshape"),
        "blockgrad0": F.BlockGrad(F.reshape(label, (images, -1)), name="blockgrad0"),
    }


def head_outputs(F: Functions, cls_score, bbox_pred, rois_per_image: int) -> dict:
    """Test outputs cls_prob_reshape (N, R, C), bbox_pred_reshape (N, R, 4 * box_classes)."""
    return {
        "cls_prob_reshape": F.reshape(
            F.softmax(cls_score, axis=1), (-4, -1, rois_per_image, 0), name="cls_prob_reshape"
        ),
        "bbox_pred_reshape": F.reshape(bbox_pred, (-4, -1, rois_per_image, 0), name="bbox_pred_reshape"),
    }
