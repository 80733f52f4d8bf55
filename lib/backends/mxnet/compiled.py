"""The compiled operators, as functions of MXNet symbols or of NDArrays.

Each takes symbols and returns a symbol, or takes NDArrays and returns an NDArray. Shapes of all inputs must be known
when a symbol is bound: MXNet 1.9.1 corrupts memory where a library's operator is asked about an unknown shape.
All arrays are float32. A gradient always overwrites: `grad_req="add"` does not reach these operators.
"""

from __future__ import annotations

from collections.abc import Sequence

from lib.backends.mxnet.loader import mx
from lib.ops import library


def _call(op: str, inputs: tuple, name: str | None, **attributes: object):
    library.load()
    values = {key: _text(value) for key, value in attributes.items()}
    if all(isinstance(x, mx.sym.Symbol) for x in inputs):
        return getattr(mx.sym, op)(*inputs, name=name, **values)
    if all(isinstance(x, mx.nd.NDArray) for x in inputs):
        return getattr(mx.nd, op)(*inputs, **values)
    kinds = ", ".join(type(x).__name__ for x in inputs)
    raise TypeError(f"{op}: the inputs must be all symbols or all NDArrays, got {kinds}")


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(repr(float(v)) for v in value) + ")"
    return str(int(value)) if isinstance(value, bool) else repr(value)


def warp(data, flow, name: str | None = None):
    """Samples a map along a flow: out(y, x) = data(y + flow_y, x + flow_x), bilinear, zero outside the map.

    data (B, C, H, W); flow (B, 2, H, W) cells, channel 0 is x -> (B, C, H, W). Gradients to both.
    FGFA paper, section 3.1, equation 1.
    """
    return _call("fgfa_warp", (data, flow), name)


def to_ring(features):
    """The layout in which `aggregate` reads cached features: (N, C + E, H, W) -> (N, H, W, C + E), one copy."""
    kind = mx.sym if isinstance(features, mx.sym.Symbol) else mx.nd
    return kind.transpose(features, axes=(0, 2, 3, 1))


def aggregate(
    features, flow, order, feature_channels: int, current: int, name: str | None = None, with_weights: bool = False
):
    """Flow-guided aggregation of a window of frames for its current frame; no gradient (zeros).

    features (S, H, W, C + E): a ring of S frames in any order, channels last, first the C = `feature_channels` of the
    feature, then the E of its embedding. flow (F, 2, H, W) cells, from the current frame to the frame at each position
    of the window; order (F,) the slot of the frame at each position, which may repeat (clip ends); `current` the
    position of the current frame. -> (1, C, H, W), and `with_weights` also (F, 1, H, W), their sum 1 over the frames.
    FGFA paper, section 3.1, equations 2 and 3 (every frame warped, the current one too).
    """
    return _call(
        "fgfa_aggregate",
        (features, flow, order),
        name,
        feature_channels=feature_channels,
        current=current,
        with_weights=with_weights,
    )


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
    with_scores: bool = False,
):
    """Region proposals of a batch of images; no gradient (zeros).

    cls_prob (B, 2A, h, w), object scores in the second half; bbox_pred (B, 4A, h, w) deltas, already multiplied by
    their standard deviations; im_info (B, 3) height, width, scale; A = len(scales) * len(ratios)
    -> rois (B * post, 5) image of the batch, x1 y1 x2 y2, inclusive pixels; `with_scores` also (B * post, 1).
    A box narrower or lower than min_size * scale, and an anchor in the padding of the batch, gets score -1 but stays
    in the list. `pre_nms_top_n` 0 keeps all. Fewer survivors than `post_nms_top_n` are repeated from the first.
    """
    return _call(
        "fgfa_multi_proposal",
        (cls_prob, bbox_pred, im_info),
        name,
        feature_stride=feature_stride,
        scales=scales,
        ratios=ratios,
        pre_nms_top_n=pre_nms_top_n,
        post_nms_top_n=post_nms_top_n,
        nms_threshold=nms_threshold,
        min_size=min_size,
        with_scores=with_scores,
    )


def psroi_mean(data, rois, *, output_dim: int, group_size: int, spatial_scale: float, name: str | None = None):
    """Position-sensitive pooling of regions and the mean over its group_size ^ 2 bins; gradient to data alone.

    data (B, group_size ^ 2 * output_dim, h, w), channel (c * group_size + row) * group_size + column;
    rois (R, 5) image of the batch, x1 y1 x2 y2, inclusive pixels -> (R, output_dim).
    R-FCN paper, section 3, equation 1, and the average vote.
    """
    return _call(
        "fgfa_psroi_mean",
        (data, rois),
        name,
        output_dim=output_dim,
        group_size=group_size,
        spatial_scale=spatial_scale,
    )
