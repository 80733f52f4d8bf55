"""The operators of `lib.backends.mxnet.compiled`, composed of those that MXNet brings: slower, for comparison."""

from __future__ import annotations

from collections.abc import Sequence

from lib.backends.mxnet.loader import mx


def warp(data, flow, name: str | None = None):
    """Samples data (B, C, H, W) along flow (B, 2, H, W): out(y, x) = data(y + flow_y, x + flow_x), zero outside."""
    grid = mx.sym.GridGenerator(flow, transform_type="warp")
    return mx.sym.BilinearSampler(data, grid, name=name)


def to_ring(features):
    """The layout in which `aggregate` reads cached features: here (N, C, h, w), as they come."""
    return features


def aggregate(
    ring, flow, order, feature_channels: int, current: int, name: str | None = None, with_weights: bool = False
):
    """Aggregated features of one window; see `lib.backends.mxnet.compiled.aggregate`.

    ring (S, C + E, h, w); flow (F, 2, h, w); order (F,) slots of the window's frames -> (1, C, h, w), and
    `with_weights` also (F, 1, h, w).
    """
    warped = warp(mx.sym.take(ring, order), flow)
    features = mx.sym.slice_axis(warped, 1, 0, feature_channels)
    embeddings = mx.sym.slice_axis(warped, 1, feature_channels, None)
    similarity = cosine(embeddings, mx.sym.slice_axis(embeddings, 0, current, current + 1))
    aggregated = weigh(features, similarity, name)
    return mx.sym.Group([aggregated, mx.sym.softmax(similarity, axis=0)]) if with_weights else aggregated


def cosine(embeddings, reference):
    """Cosine at each cell: embeddings (F, E, h, w), reference (1, E, h, w) -> (F, 1, h, w); 0 for a zero vector."""
    a = mx.sym.L2Normalization(embeddings, mode="channel", eps=1e-10)
    b = mx.sym.L2Normalization(reference, mode="channel", eps=1e-10)
    return mx.sym.sum(mx.sym.broadcast_mul(a, b), axis=1, keepdims=True)


def weigh(features, cosines, name: str | None = None):
    """Softmax of the cosines (F, 1, h, w) over frames, weighted sum of features (F, C, h, w) -> (1, C, h, w)."""
    weights = mx.sym.softmax(cosines, axis=0)
    return mx.sym.sum(mx.sym.broadcast_mul(features, weights), axis=0, keepdims=True, name=name)


def multi_proposal(
    cls_prob,
    bbox_pred,
    im_info,
    *,
    feature_stride: int,
    scales: Sequence[float],
    ratios: Sequence[float],
    pre_nms_top_n: int,
    post_nms_top_n: int,
    nms_threshold: float,
    min_size: float,
    name: str | None = None,
):
    """Proposals of a batch of images; see `lib.backends.mxnet.compiled.multi_proposal`."""
    return mx.sym.contrib.MultiProposal(
        cls_prob,
        bbox_pred,
        im_info,
        feature_stride=feature_stride,
        scales=tuple(scales),
        ratios=tuple(ratios),
        rpn_pre_nms_top_n=pre_nms_top_n,
        rpn_post_nms_top_n=post_nms_top_n,
        threshold=nms_threshold,
        rpn_min_size=int(min_size),
        name=name,
    )


def psroi_mean(data, rois, *, output_dim: int, group_size: int, spatial_scale: float, name: str | None = None):
    """Position-sensitive pooling and the mean over its bins -> (R, output_dim)."""
    pooled = mx.sym.contrib.PSROIPooling(
        data, rois, spatial_scale=spatial_scale, output_dim=output_dim, pooled_size=group_size, group_size=group_size
    )
    mean = mx.sym.mean(pooled, axis=(2, 3))
    return mx.sym.identity(mean, name=name) if name else mean
