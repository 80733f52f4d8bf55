"""Synthetic weights for benchmarks."""

from __future__ import annotations

import numpy as np
from easydict import EasyDict

from lib.backends.base import Backend
from lib.inference.detector import parameter_shapes
from lib.method import Method
from lib.nets.params import he_normal, he_normal_deconvolution, initial

_LAYERS = {**dict.fromkeys(("deconv", "upsample_flow"), he_normal_deconvolution), "": he_normal}


def synthetic(method: Method, cfg: EasyDict, backend: Backend) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(args, auxs) of a detector whose maps keep about the same scale from layer to layer, so that its scores vary."""
    shapes = parameter_shapes(method.parts(cfg), backend)
    return tuple({name: initial(name, s, 0, _LAYERS) * _gain(name) for name, s in part.items()} for part in shapes)


def _gain(name: str) -> np.float32:
    if name == "conv1_weight":
        return np.float32(0.02)  # scales colours to about 1
    return np.float32(0.6 if name.endswith("_gamma") else 1)
