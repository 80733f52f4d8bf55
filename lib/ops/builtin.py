"""The operators of `lib.ops.compiled`, composed of those that MXNet brings: slower, for comparison."""

from __future__ import annotations

from collections.abc import Sequence

from lib.mx import mx


def warp(data, flow, name: str | None = None):
    """Samples data (B, C, H, W) along flow (B, 2, H, W): out(y, x) = data(y + flow_y, x + flow_x), zero outside."""
    grid = mx.sym.GridGenerator(flow, transform_type="warp")
    return mx.sym.BilinearSampler(data, grid, name=name)


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
    """Proposals of a batch of images; see `lib.ops.compiled.multi_proposal`."""
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
