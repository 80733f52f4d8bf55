"""R-FCN on single frames: the baseline."""

from __future__ import annotations

from easydict import EasyDict

from lib.mx import mx
from lib.nets import params, sizes
from lib.nets.detection import detections, training_losses
from lib.nets.resnet import feature_map

EPS = 1e-5  # of BatchNorm; FGFA has another


def features(data, cfg: EasyDict):
    """data (N, 3, H, W) -> (N, FEAT_DIM, h, w)."""
    return feature_map(data, sizes.backbone(cfg, EPS), cfg.network.FEAT_DIM, cfg.network.FEAT_DILATION)


def train_symbol(cfg: EasyDict):
    """Inputs data, im_info, gt_boxes, label, bbox_target, bbox_weight; outputs the losses of RPN and head."""
    return training_losses(features(mx.sym.Variable("data"), cfg), cfg)


def test_symbol(cfg: EasyDict):
    """Inputs data (N, 3, H, W), im_info (N, 3); outputs rois, cls_prob_reshape, bbox_pred_reshape."""
    return mx.sym.Group(detections(features(mx.sym.Variable("data"), cfg), cfg))


def parameters(cfg: EasyDict) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """Shapes by name of what the network needs to test with: (args, auxs)."""
    return params.shapes_of(test_symbol(cfg), data=(1, 3, *cfg.SCALES), im_info=(1, 3))
