"""R-FCN on single frames: the baseline."""

from __future__ import annotations

from pathlib import Path

from easydict import EasyDict

from lib.backends.mxnet.loader import mx
from lib.nets import params, sizes
from lib.nets.detection import detection_maps, detections, training_losses
from lib.nets.onnx_graph import Part
from lib.nets.resnet import feature_map

EPS = 1e-5  # of BatchNorm; FGFA has another


def features(data, cfg: EasyDict):
    """data (N, 3, H, W) -> (N, FEAT_DIM, h, w)."""
    return feature_map(data, sizes.backbone(cfg, EPS), cfg.network.FEAT_DIM, cfg.network.FEAT_DILATION)


def train_symbol(cfg: EasyDict):
    """Inputs data, im_info, gt_boxes, label, bbox_target, bbox_weight; outputs the losses of RPN and head."""
    return training_losses(features(mx.sym.Variable("data"), cfg), cfg)


def feature_symbol(cfg: EasyDict):
    """Input data (N, 3, H, W); output features (N, FEAT_DIM, h, w)."""
    return mx.sym.identity(features(mx.sym.Variable("data"), cfg), name="features")


def head_symbol(cfg: EasyDict):
    """Inputs features (N, FEAT_DIM, h, w), im_info (N, 3); outputs as `test_symbol`."""
    return mx.sym.Group(detections(mx.sym.Variable("features"), cfg))


def test_symbol(cfg: EasyDict):
    """Both in one, the published test network: inputs data (N, 3, H, W), im_info (N, 3); outputs rois,
    cls_prob_reshape, bbox_pred_reshape.
    """
    return mx.sym.Group(detections(features(mx.sym.Variable("data"), cfg), cfg))


def parameters(cfg: EasyDict) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """Shapes by name of what the network needs to test with: (args, auxs)."""
    return params.shapes_of(test_symbol(cfg), data=(1, 3, *cfg.SCALES), im_info=(1, 3))


def read_parameters(cfg: EasyDict, weights: str | Path) -> tuple[dict, dict]:
    """A file's parameters to test with: (args, auxs). InputError: no such file, or weights of another network."""
    args, auxs = params.load(weights)
    args = params.for_test(args)
    wanted_args, wanted_auxs = parameters(cfg)
    params.check({**args, **auxs}, {**wanted_args, **wanted_auxs}, str(weights))
    return args, auxs


def export_parts(cfg: EasyDict) -> dict[str, Part]:
    """The networks by the name of their ONNX file: all of R-FCN but proposals and pooling."""
    heads = detection_maps(mx.sym.Variable("features"), cfg)
    return {
        "features": Part(feature_symbol(cfg), {"data": 3}, 1, "R-FCN: pictures, RGB minus mean -> features"),
        "heads": Part(
            heads, {"features": cfg.network.FEAT_DIM}, cfg.network.RCNN_FEAT_STRIDE, "R-FCN: features -> maps"
        ),
    }
