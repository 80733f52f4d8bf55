"""R-FCN on single frames: the baseline (Dai et al., NeurIPS 2016)."""

from __future__ import annotations

from easydict import EasyDict

from lib.backends.functions import Functions
from lib.nets.detection import backbone, detections, heads_part, training_losses
from lib.nets.part import Part

EPS = 1e-5  # of BatchNorm; that of FGFA differs


def losses(F: Functions, cfg: EasyDict) -> dict:
    """Inputs: data (1, 3, H, W) and those of `training_losses`. Outputs: the losses of RPN and head."""
    return training_losses(F, backbone(F, F.Variable("data"), cfg, EPS), cfg)


def features(F: Functions, cfg: EasyDict) -> dict:
    """Input: data (N, 3, H, W). Output: features (N, FEAT_DIM, h, w)."""
    return {"features": F.identity(backbone(F, F.Variable("data"), cfg, EPS), name="features")}


def heads(F: Functions, cfg: EasyDict) -> dict:
    """Inputs: features (N, FEAT_DIM, h, w), im_info (N, 3). Outputs: those of `detections`."""
    return detections(F, F.Variable("features"), cfg)


def test(F: Functions, cfg: EasyDict) -> dict:
    """Both in one, as in the published test network. Inputs: data (N, 3, H, W), im_info (N, 3)."""
    return detections(F, backbone(F, F.Variable("data"), cfg, EPS), cfg)


def parts(cfg: EasyDict) -> dict[str, Part]:
    """All of R-FCN except proposals and pooling."""
    return {
        "features": Part(lambda F: features(F, cfg), {"data": 3}, 1, "R-FCN: images, RGB minus mean -> features"),
        "heads": heads_part(cfg, "R-FCN: features -> maps"),
    }
