"""R-FCN on single frames, as a method."""

from __future__ import annotations

from lib.dataset.loader import single_frame
from lib.method import Files, Method, pretrained_files
from lib.nets.params import DETECTION_LAYERS
from rfcn import network
from rfcn.detector import FrameDetector

METHOD = Method(
    name="rfcn",
    title="R-FCN",
    losses=network.losses,
    sample=lambda cfg: single_frame,
    detector=FrameDetector,
    pretrained=pretrained_files,
    new_layers=DETECTION_LAYERS,
    eps=network.EPS,
    bundled=Files(
        "experiments/rfcn/cfgs/resnet_small_minivid_rfcn_end2end_ohem.yaml", "model/minivid/rfcn-0000.params"
    ),
    published=Files(
        "experiments/rfcn/cfgs/resnet_v1_101_imagenet_vid_rfcn_end2end_ohem.yaml", "model/rfcn_vid-0000.params"
    ),
)
