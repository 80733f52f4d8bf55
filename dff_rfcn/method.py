"""Deep Feature Flow, as a method."""

from __future__ import annotations

from easydict import EasyDict

from dff_rfcn import network
from dff_rfcn.detector import KeyFrameDetector
from dff_rfcn.explain import layers, sheet, span
from dff_rfcn.frames import KeyFrame
from lib.method import Explain, Files, Method, pretrained_files
from lib.nets.flownet import SCALE_LAYER
from lib.nets.params import DETECTION_LAYERS, ones, zeros


def _advise(cfg: EasyDict) -> list[str]:
    low, high, interval = cfg.TRAIN.MIN_OFFSET, cfg.TRAIN.MAX_OFFSET, cfg.TEST.KEY_FRAME_INTERVAL
    if (low, high) == (1 - interval, 0):
        return []
    return [
        f"training draws key frames from {low}..{high}, but with TEST.KEY_FRAME_INTERVAL {interval} they are at "
        f"{1 - interval}..0"
    ]


METHOD = Method(
    name="dff_rfcn",
    title="DFF",
    losses=network.losses,
    sample=lambda cfg: KeyFrame(cfg.TRAIN.MIN_OFFSET, cfg.TRAIN.MAX_OFFSET),
    detector=KeyFrameDetector,
    pretrained=lambda cfg: pretrained_files(cfg, flow=True),
    # A scale map of ones at the start. Its bias stays so; its weights learn the deviation, at the full rate, since
    # FLOW_LR_FACTOR is for layers that are trained already.
    new_layers={**DETECTION_LAYERS, f"{SCALE_LAYER}_weight": zeros, f"{SCALE_LAYER}_bias": ones},
    lr_factors={f"{SCALE_LAYER}_weight": 1.0, f"{SCALE_LAYER}_bias": 0.0},
    eps=network.EPS,
    bundled=Files(
        "experiments/dff_rfcn/cfgs/resnet_small_flownet_minivid_rfcn_end2end_ohem.yaml",
        "model/minivid/dff-0000.params",
    ),
    published=Files(
        "experiments/dff_rfcn/cfgs/resnet_v1_101_flownet_imagenet_vid_rfcn_end2end_ohem.yaml",
        "model/rfcn_dff_flownet_vid-0000.params",
    ),
    replay=lambda cfg, done: done % cfg.TEST.KEY_FRAME_INTERVAL,
    cycle=lambda cfg: cfg.TEST.KEY_FRAME_INTERVAL,
    warmup=2,  # a key frame and one that is not
    advise=_advise,
    explain=Explain("key", span, sheet, layers),
)
