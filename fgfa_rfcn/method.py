"""Flow-guided feature aggregation, as a method."""

from __future__ import annotations

from easydict import EasyDict

from fgfa_rfcn import network
from fgfa_rfcn.explain import layers, sheet, span
from fgfa_rfcn.frames import Neighbours
from fgfa_rfcn.schedule import Schedule
from fgfa_rfcn.window import VideoDetector
from lib.method import Explain, Files, Method, pretrained_files
from lib.nets.params import DETECTION_LAYERS, he_normal


def _advise(cfg: EasyDict) -> list[str]:
    low, high, reach = cfg.TRAIN.MIN_OFFSET, cfg.TRAIN.MAX_OFFSET, cfg.TEST.KEY_FRAME_INTERVAL
    if (low, high) == (-reach, reach):
        return []
    return [
        f"training draws neighbours from {low}..{high}, but TEST.KEY_FRAME_INTERVAL {reach} aggregates "
        f"{-reach}..{reach}"
    ]


METHOD = Method(
    name="fgfa_rfcn",
    title="FGFA",
    losses=network.losses,
    sample=lambda cfg: Neighbours(cfg.TRAIN.MIN_OFFSET, cfg.TRAIN.MAX_OFFSET),
    detector=VideoDetector,
    pretrained=lambda cfg: pretrained_files(cfg, flow=cfg.TRAIN.WARP),
    new_layers={**DETECTION_LAYERS, "em_conv": he_normal},
    eps=network.EPS,
    bundled=Files(
        "experiments/fgfa_rfcn/cfgs/resnet_small_flownet_minivid_rfcn_end2end_ohem.yaml",
        "model/minivid/fgfa-0000.params",
    ),
    published=Files(
        "experiments/fgfa_rfcn/cfgs/resnet_v1_101_flownet_imagenet_vid_rfcn_end2end_ohem.yaml",
        "model/rfcn_fgfa_flownet_vid-0000.params",
    ),
    replay=lambda cfg, done: Schedule.of(cfg.TEST).replay(done),
    cycle=lambda cfg: cfg.TEST.KEY_FRAME_DURATION,
    live=("TEST.causal=true",),
    advise=_advise,
    explain=Explain("window", span, sheet, layers),
)
