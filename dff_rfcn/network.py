"""Deep Feature Flow (Zhu et al., CVPR 2017): features of key frames, warped along the flow for the frames between."""

from __future__ import annotations

from typing import Any

from easydict import EasyDict

from lib.backends.functions import Functions
from lib.nets import sizes
from lib.nets.detection import backbone, detections, heads_part, training_losses
from lib.nets.flownet import double_by_convolution, flow_and_scale, prepare
from lib.nets.part import Part

EPS = 1e-5  # of BatchNorm, as in R-FCN


def flow_to_key(F: Functions, data, data_key, cfg: EasyDict) -> tuple[Any, Any]:
    """data, data_key (N, 3, H, W) -> flow from each frame to its key frame (N, 2, h, w), scale map (N, C, h, w)."""
    net = sizes.flownet(cfg)
    return flow_and_scale(F, prepare(F, data, net), prepare(F, data_key, net), net, cfg.network.FEAT_DIM)


def propagate(F: Functions, features, motion, scale):
    """Features of frames from those of their key frames: warped along the flow and multiplied by the scale map."""
    return F.warp(features, motion) * scale


def losses(F: Functions, cfg: EasyDict) -> dict:
    """Inputs: data (1, 3, H, W), the annotated frame; data_ref (1, 3, H, W), its key frame; eq_flag (1,), 1 if both are
    the same frame; those of R-FCN's training. Outputs: the same losses.

    The backbone sees only the key frame. If both frames are the same, its features are used as they are.
    """
    data, data_ref = F.Variable("data"), F.Variable("data_ref")
    features = backbone(F, data_ref, cfg, EPS)
    propagated = propagate(F, features, *flow_to_key(F, data, data_ref, cfg))
    same = F.reshape(F.Variable("eq_flag"), (1, 1, 1, 1))
    chosen = F.broadcast_mul(propagated, 1 - same) + F.broadcast_mul(features, same)
    return training_losses(F, chosen, cfg)


def features(F: Functions, cfg: EasyDict) -> dict:
    """Input: data (N, 3, H, W), key frames. Output: features (N, FEAT_DIM, h, w)."""
    return {"features": F.identity(backbone(F, F.Variable("data"), cfg, EPS), name="features")}


def flow(F: Functions, cfg: EasyDict) -> dict:
    """Outputs: flow (N, 2, h, w) in feature cells, scale (N, FEAT_DIM, h, w). Parameters: see `for_convolutions`.

    Inputs: current (N, ...), outputs of `lib.nets.flownet.image`; image_key (1, ...), that of their key frame;
    key (N,), zeros.
    """
    current, image_key, key = (F.Variable(name) for name in ("current", "image_key", "key"))
    net = sizes.flownet(cfg)
    motion, scale = flow_and_scale(
        F, current, F.take(image_key, key), net, cfg.network.FEAT_DIM, double=double_by_convolution
    )
    return {"flow": F.identity(motion, name="flow"), "scale": F.identity(scale, name="scale")}


def heads(F: Functions, cfg: EasyDict) -> dict:
    """Detections of key frames. Inputs: features (N, FEAT_DIM, h, w), im_info (N, 3)."""
    return detections(F, F.Variable("features"), cfg)


def propagation(F: Functions, cfg: EasyDict) -> dict:
    """Detections of the frames between key frames.

    Inputs: feat_key (1, FEAT_DIM, h, w), features of the key frame; key (N,), zeros; flow (N, 2, h, w), scale
    (N, FEAT_DIM, h, w) and im_info (N, 3) of the frames.
    """
    feat_key, key, motion, scale = (F.Variable(name) for name in ("feat_key", "key", "flow", "scale"))
    return detections(F, propagate(F, F.take(feat_key, key), motion, scale), cfg)


def key_test(F: Functions, cfg: EasyDict) -> dict:
    """The published test network of key frames. Inputs: data (1, 3, H, W), im_info (1, 3)."""
    found = backbone(F, F.Variable("data"), cfg, EPS)
    return {"feat_conv_3x3_relu": found, **detections(F, found, cfg)}


def current_test(F: Functions, cfg: EasyDict) -> dict:
    """The published test network of other frames.

    Inputs: feat_key (1, FEAT_DIM, h, w), data_key (1, 3, H, W), data (1, 3, H, W), im_info (1, 3).
    """
    feat_key, data, data_key = (F.Variable(name) for name in ("feat_key", "data", "data_key"))
    return detections(F, propagate(F, feat_key, *flow_to_key(F, data, data_key, cfg)), cfg)


def batch_test(F: Functions, cfg: EasyDict) -> dict:
    """The published test network of a key frame and all frames up to the next, N in total, in one.

    Inputs: data_key (1, 3, H, W), data_other (N - 1, 3, H, W), im_info (N, 3); N is TEST.KEY_FRAME_INTERVAL.
    """
    data_key, others = F.Variable("data_key"), cfg.TEST.KEY_FRAME_INTERVAL - 1
    found = backbone(F, data_key, cfg, EPS)
    motion = flow_to_key(F, F.Variable("data_other"), F.repeat(data_key, repeats=others, axis=0), cfg)
    propagated = propagate(F, F.repeat(found, repeats=others, axis=0), *motion)
    return detections(F, F.concat(found, propagated, dim=0), cfg)


def parts(cfg: EasyDict) -> dict[str, Part]:
    """All of DFF except warping, proposals and pooling. The flow network is needed for frames between key frames."""

    def motion(F: Functions) -> dict:
        found = flow_to_key(F, F.Variable("current"), F.Variable("key"), cfg)
        return {name: F.identity(x, name=name) for name, x in zip(("flow", "scale"), found)}

    return {
        "features": Part(lambda F: features(F, cfg), {"data": 3}, 1, "DFF: key frames, RGB minus mean -> features"),
        "flow": Part(
            motion,
            {"current": 3, "key": 3},
            1,
            "DFF: images, RGB minus mean -> flow in feature cells, from current to key frame, x then y; scale map",
            needed=cfg.TEST.KEY_FRAME_INTERVAL > 1,
        ),
        "heads": heads_part(cfg, "DFF: features, propagated or of a key frame -> maps"),
    }
