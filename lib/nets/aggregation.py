"""Flow-guided aggregation of neighbouring feature maps (FGFA, section 3 and equations 2 to 4)."""

from __future__ import annotations

from collections.abc import Sequence

from lib.mx import mx
from lib.nets.resnet import relu


def embedding(features, channels: Sequence[int] = (512, 512, 2048)):
    """What frames are compared by: features (N, C, h, w) -> (N, channels[-1], h, w)."""
    first, second, third = channels
    x = relu(mx.sym.Convolution(features, name="em_conv1", num_filter=first, kernel=(1, 1)))
    x = relu(mx.sym.Convolution(x, name="em_conv2", num_filter=second, kernel=(3, 3), pad=(1, 1)))
    return mx.sym.Convolution(x, name="em_conv3", num_filter=third, kernel=(1, 1))


def cosine(embeddings, reference):
    """Cosine at each cell: embeddings (F, E, h, w), reference (1, E, h, w) -> (F, 1, h, w); 0 for a zero vector."""
    a = mx.sym.L2Normalization(embeddings, mode="channel", eps=1e-10)
    b = mx.sym.L2Normalization(reference, mode="channel", eps=1e-10)
    return mx.sym.sum(mx.sym.broadcast_mul(a, b), axis=1, keepdims=True)


def weigh(features, cosines):
    """Softmax of the cosines (F, 1, h, w) over frames, weighted sum of features (F, C, h, w) -> (1, C, h, w)."""
    weights = mx.sym.softmax(cosines, axis=0)
    return mx.sym.sum(mx.sym.broadcast_mul(features, weights), axis=0, keepdims=True)
