"""R-FCN on single frames, as a method."""

from __future__ import annotations

from easydict import EasyDict

from lib.dataset.loader import single_frame
from lib.method import Files, Method
from lib.nets.params import DETECTION_LAYERS
from rfcn import network
from rfcn.detector import FrameDetector


def _pretrained(cfg: EasyDict) -> list[str]:
    return [f"{cfg.network.pretrained}-{cfg.network.pretrained_epoch:04d}.params"]


METHOD = Method(
    name="rfcn",
    title="R-FCN",
    losses=network.losses,
    sample=lambda cfg: single_frame,
    detector=FrameDetector,
    pretrained=_pretrained,
    new_layers=DETECTION_LAYERS,
    eps=network.EPS,
    bundled=Files(
        "experiments/rfcn/cfgs/resnet_small_minivid_rfcn_end2end_ohem.yaml", "model/minivid/rfcn-0000.params"
    ),
    published=Files(
        "experiments/rfcn/cfgs/resnet_v1_101_imagenet_vid_rfcn_end2end_ohem.yaml", "model/rfcn_vid-0000.params"
    ),
)
