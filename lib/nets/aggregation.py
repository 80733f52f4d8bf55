"""The embedding that frames are compared by in flow-guided aggregation (FGFA, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

from lib.backends.mxnet.loader import mx
from lib.nets.resnet import relu


def embedding(features, channels: Sequence[int] = (512, 512, 2048)):
    """features (N, C, h, w) -> (N, channels[-1], h, w)."""
    first, second, third = channels
    x = relu(mx.sym.Convolution(features, name="em_conv1", num_filter=first, kernel=(1, 1)))
    x = relu(mx.sym.Convolution(x, name="em_conv2", num_filter=second, kernel=(3, 3), pad=(1, 1)))
    return mx.sym.Convolution(x, name="em_conv3", num_filter=third, kernel=(1, 1))
