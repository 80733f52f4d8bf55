"""Flow-guided feature aggregation (Zhu et al., ICCV 2017) in front of the R-FCN heads."""

from __future__ import annotations

from easydict import EasyDict

from lib.mx import mx
from lib.nets import sizes
from lib.nets.aggregation import cosine, embedding, weigh
from lib.nets.detection import detections, training_losses
from lib.nets.flownet import flow
from lib.nets.resnet import feature_map

EPS = 2e-5  # of BatchNorm; the baseline has another


def _features(data, cfg: EasyDict):
    return feature_map(data, sizes.backbone(cfg, EPS), cfg.network.FEAT_DIM, cfg.network.FEAT_DILATION)


def train_symbol(cfg: EasyDict):
    """Inputs data, data_bef, data_aft (1, 3, H, W), and those of R-FCN's training; outputs the same losses.

    The two neighbours are warped to the current frame, embedded after the warp, weighed by their cosine to the
    current frame's own embedding, and summed; the current frame's features do not take part in the sum.
    """
    current, before, after = (mx.sym.Variable(name) for name in ("data", "data_bef", "data_aft"))
    frames = mx.sym.concat(current, before, after, dim=0)
    features = _features(frames, cfg)
    own, neighbours = mx.sym.slice_axis(features, 0, 0, 1), mx.sym.slice_axis(features, 0, 1, 3)
    if cfg.TRAIN.WARP:
        motion = flow(
            mx.sym.concat(current, current, dim=0), mx.sym.concat(before, after, dim=0), sizes.flownet(cfg)
        )
        neighbours = sizes.operators(cfg).warp(neighbours, motion)
    embedded = embedding(mx.sym.concat(own, neighbours, dim=0), cfg.network.EMBED_DIMS)
    similarity = cosine(mx.sym.slice_axis(embedded, 0, 1, 3), mx.sym.slice_axis(embedded, 0, 0, 1))
    return training_losses(weigh(neighbours, similarity), cfg)
