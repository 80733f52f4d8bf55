"""Flow-guided feature aggregation (FGFA, section 3): embedding, weights, weighted sum."""

from __future__ import annotations

from collections.abc import Sequence

from lib.backends.functions import Functions
from lib.nets.resnet import relu


def embedding(F: Functions, features, channels: Sequence[int] = (512, 512, 2048)):
    """The embedding that frames are compared with: features (N, C, h, w) -> (N, channels[-1], h, w)."""
    first, second, third = channels
    x = relu(F, F.Convolution(features, name="em_conv1", num_filter=first, kernel=(1, 1)))
    x = relu(F, F.Convolution(x, name="em_conv2", num_filter=second, kernel=(3, 3), pad=(1, 1)))
    return F.Convolution(x, name="em_conv3", num_filter=third, kernel=(1, 1))


def cosine(F: Functions, embeddings, reference):
    """Cosine per cell: embeddings (F, E, h, w), reference (1, E, h, w) -> (F, 1, h, w); 0 for zero vectors."""
    a = F.L2Normalization(embeddings, mode="channel", eps=1e-10)
    b = F.L2Normalization(reference, mode="channel", eps=1e-10)
    return F.sum(F.broadcast_mul(a, b), axis=1, keepdims=True)


def weigh(F: Functions, features, cosines, name: str | None = None):
    """Sum of features (F, C, h, w), weighted by the softmax over frames of cosines (F, 1, h, w) -> (1, C, h, w)."""
    weights = F.softmax(cosines, axis=0)
    return F.sum(F.broadcast_mul(features, weights), axis=0, keepdims=True, name=name)


def to_ring(F: Functions, features):
    """Features in the layout that `aggregate` reads: (N, C, h, w), or (N, h, w, C) for the fused operator."""
    return F.transpose(features, axes=(0, 2, 3, 1)) if F.fused else features


def aggregate(
    F: Functions,
    ring,
    flow,
    order,
    *,
    feature_channels: int,
    current: int,
    name: str,
    with_weights: bool = False,
    partial: bool = False,
) -> Sequence:
    """Features aggregated over a window: [aggregated (1, C, h, w)], if `with_weights` also weights (F, 1, h, w).

    The arguments are those of `Functions.aggregate`, with `ring` in the layout of `to_ring`. Without the fused
    operator, it is composed from others. partial: whether `order` has positions that are left out (-1).
    """
    if F.fused:
        return F.aggregate(
            ring,
            flow,
            order,
            feature_channels=feature_channels,
            current=current,
            name=name,
            with_weights=with_weights,
        )
    warped = F.warp(F.take(ring, order), flow)
    features = F.slice_axis(warped, 1, 0, feature_channels)
    embeddings = F.slice_axis(warped, 1, feature_channels, None)
    similarity = cosine(F, embeddings, F.slice_axis(embeddings, 0, current, current + 1))
    if partial:  # a weight of exp(-10000), which is 0
        left_out = F.reshape(relu(F, order * -1.0), (-1, 1, 1, 1)) * 1e4
        similarity = similarity - F.broadcast_mul(F.zeros_like(similarity) + 1.0, left_out)
    aggregated = weigh(F, features, similarity, name)
    return [aggregated, F.softmax(similarity, axis=0)] if with_weights else [aggregated]
