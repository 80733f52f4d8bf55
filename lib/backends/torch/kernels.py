"""The compiled operators of `lib/ops/src` on tensors, through their plain C interface.

They run on the CPU on contiguous float32 tensors, without a copy where a tensor is one already; other tensors are
copied there, and results are copied back to the device of the input. Arguments are those of `Functions`.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

from lib.backends.torch.loader import torch
from lib.ops.library import checked_kernels

_FLOATS = ctypes.POINTER(ctypes.c_float)


def _structure(name: str, **kinds: Any) -> type[ctypes.Structure]:
    return type(name, (ctypes.Structure,), {"_fields_": list(kinds.items())})


def _integers(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), ctypes.c_int64)


_WarpShape = _structure("WarpShape", **_integers("batch channels height width"))
_AggregateShape = _structure("AggregateShape", **_integers("slots frames height width channels embedding current"))
_PsroiShape = _structure(
    "PsroiShape", **_integers("batch outputs group height width regions"), spatial_scale=ctypes.c_float
)
_ProposalShape = _structure(
    "ProposalShape",
    **_integers("batch height width scales ratios"),
    scale=_FLOATS,
    ratio=_FLOATS,
    stride=ctypes.c_float,
    **_integers("pre_nms post_nms"),
    nms_threshold=ctypes.c_float,
    min_size=ctypes.c_float,
)


@functools.cache
def _library() -> ctypes.CDLL:
    """Raises InputError where it was not built, or was built from other sources."""
    library = ctypes.CDLL(str(checked_kernels()))
    for name in ("fgfa_aggregate_bad_position", "fgfa_psroi_bad_region"):
        getattr(library, name).restype = ctypes.c_int64
    return library


def _call(name: str, shape: ctypes.Structure, *tensors: torch.Tensor | None) -> int:
    pointers = [None if tensor is None else ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
    return getattr(_library(), name)(ctypes.byref(shape), *pointers)


def _ready(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", torch.float32).contiguous()


def _expect(name: str, tensor: torch.Tensor, *shape: int) -> None:
    """The kernels trust the shapes that they are given."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, not {shape}")


class Warp(torch.autograd.Function):
    """`Warp.apply(data, flow)`."""

    @staticmethod
    def forward(ctx: Any, data: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = data.shape
        _expect("flow", flow, batch, 2, height, width)
        ctx.device = data.device
        data, flow = _ready(data), _ready(flow)
        ctx.save_for_backward(data, flow)
        out = torch.empty_like(data)
        _call("fgfa_warp_forward_cpu", _WarpShape(*data.shape), data, flow, out)
        return out.to(ctx.device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        data, flow = ctx.saved_tensors
        to_data, to_flow = torch.empty_like(data), torch.empty_like(flow)
        shape = _WarpShape(*data.shape)
        _call("fgfa_warp_backward_cpu", shape, _ready(gradient), data, flow, to_data, to_flow)
        return to_data.to(ctx.device), to_flow.to(ctx.device)


class PsroiMean(torch.autograd.Function):
    """`PsroiMean.apply(data, rois, output_dim, group_size, spatial_scale)`."""

    @staticmethod
    def forward(
        ctx: Any, data: torch.Tensor, rois: torch.Tensor, output_dim: int, group_size: int, spatial_scale: float
    ) -> torch.Tensor:
        batch, _, height, width = data.shape
        _expect("data", data, batch, group_size**2 * output_dim, height, width)
        _expect("rois", rois, len(rois), 5)
        ctx.device, rois = data.device, _ready(rois)
        ctx.shape = _PsroiShape(batch, output_dim, group_size, height, width, len(rois), spatial_scale)
        bad = _call("fgfa_psroi_bad_region", ctx.shape, rois)
        if bad >= 0:
            raise ValueError(f"rois[{bad}, 0] is {rois[bad, 0]}: not an image of the batch of {batch}")
        ctx.save_for_backward(rois)
        ctx.data_shape = data.shape
        out = torch.empty((len(rois), output_dim))
        _call("fgfa_psroi_mean_forward_cpu", ctx.shape, _ready(data), rois, out)
        return out.to(ctx.device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        (rois,) = ctx.saved_tensors
        to_data = torch.empty(ctx.data_shape)
        _call("fgfa_psroi_mean_backward_cpu", ctx.shape, _ready(gradient), rois, to_data)
        return to_data.to(ctx.device), None, None, None, None


def aggregate(
    ring: torch.Tensor, flow: torch.Tensor, order: torch.Tensor, feature_channels: int, current: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(aggregated (1, C, H, W), weights (F, 1, H, W))."""
    slots, height, width, channels = ring.shape
    frames, device = len(order), ring.device
    _expect("flow", flow, frames, 2, height, width)
    _expect("order", order, frames)
    if not 0 < feature_channels < channels or not 0 <= current < frames:
        raise ValueError(f"{feature_channels} of {channels} channels, frame {current} of {frames}")
    shape = _AggregateShape(slots, frames, height, width, feature_channels, channels - feature_channels, current)
    ring, flow, order = _ready(ring), _ready(flow), _ready(order)
    bad = _call("fgfa_aggregate_bad_position", shape, order)
    if bad >= 0:
        raise ValueError(f"order[{bad}] is {order[bad]}: not a slot of the ring of {slots}")
    aggregated = torch.empty((1, feature_channels, height, width))
    weights = torch.empty((frames, 1, height, width))
    _call("fgfa_aggregate_cpu", shape, ring, flow, order, aggregated, weights)
    return aggregated.to(device), weights.to(device)


def multi_proposal(
    cls_prob: torch.Tensor,
    bbox_pred: torch.Tensor,
    im_info: torch.Tensor,
    *,
    feature_stride: float,
    scales: Sequence[float],
    ratios: Sequence[float],
    pre_nms_top_n: int,
    post_nms_top_n: int,
    nms_threshold: float,
    min_size: float,
) -> torch.Tensor:
    """rois (B * post, 5)."""
    batch, _, height, width = cls_prob.shape
    anchors = len(scales) * len(ratios)
    _expect("cls_prob", cls_prob, batch, 2 * anchors, height, width)
    _expect("bbox_pred", bbox_pred, batch, 4 * anchors, height, width)
    _expect("im_info", im_info, batch, 3)
    shape = _ProposalShape(
        batch,
        height,
        width,
        len(scales),
        len(ratios),
        (ctypes.c_float * len(scales))(*scales),
        (ctypes.c_float * len(ratios))(*ratios),
        feature_stride,
        pre_nms_top_n,
        post_nms_top_n,
        nms_threshold,
        min_size,
    )
    rois = torch.empty((batch * post_nms_top_n, 5))
    _call("fgfa_multi_proposal_cpu", shape, _ready(cls_prob), _ready(bbox_pred), _ready(im_info), rois, None)
    return rois.to(cls_prob.device)
