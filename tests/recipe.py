"""Synthetic weights and frames of the golden network figures, made from names alone.

Everything comes from numpy's legacy generator, whose streams are the same with every numpy version.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

# A weight's standard deviation is He's, times this where it is named.
GAIN = {
    "conv1_weight": 0.02,
    "flow_conv1_weight": 2.0,
    "Convolution1_weight": 0.5,
    "Convolution2_weight": 0.5,
    "Convolution3_weight": 0.5,
    "Convolution4_weight": 0.5,
    "Convolution5_weight": 1.2,
    "rpn_cls_score_weight": 0.25,
    "rpn_bbox_pred_weight": 0.4,
    "rfcn_cls_weight": 2.0,
    "rfcn_bbox_weight": 0.5,
}
CENTRED = ("em_conv", "feat_conv", "rpn_", "rfcn_")  # every output filter of these sums to zero


def _random(text: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(text.encode("ascii")))


def weights(name: str, shape: Sequence[int]) -> np.ndarray:
    """The parameter or auxiliary state `name`, float32."""
    random = _random(name)
    if name.endswith("_weight"):
        # a transposed convolution's shape is (in, out, 4, 4), and an output cell sees 2 x 2 of the kernel
        transposed = name.startswith(("deconv", "upsample_flow"))
        fan_in = shape[0] * 4 if transposed else int(np.prod(shape[1:]))
        values = random.standard_normal(shape) * (np.sqrt(2.0 / fan_in) * GAIN.get(name, 1.0))
        if name.startswith(CENTRED):
            values -= values.mean(axis=(1, 2, 3), keepdims=True)
    elif name.endswith("_gamma"):
        values = 0.6 + 0.2 * random.random_sample(shape)
    elif name.endswith(("_beta", "_bias", "_moving_mean")):
        values = 0.1 * random.standard_normal(shape)
    elif name.endswith("_moving_var"):
        values = 0.8 + 0.4 * random.random_sample(shape)
    else:
        raise ValueError(name)
    return values.astype(np.float32)


def frames(height: int, width: int, count: int, tag: str = "frames") -> np.ndarray:
    """`count` frames as if the mean had been subtracted already: (count, 3, height, width) float32."""
    coarse = _random(f"{tag} {height} {width}").uniform(-110.0, 130.0, (3, height // 8 + 8, width // 8 + 8))
    big = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)
    out = np.empty((count, 3, height, width), np.float32)
    for number in range(count):
        y, x = 4 * number % 48, 6 * number % 48
        noise = _random(f"{tag} {height} {width} frame {number}").normal(0.0, 30.0, (3, height, width))
        out[number] = big[:, y : y + height, x : x + width] + noise
    return out
