"""The compiled operators on the CPU, through their plain C interface."""

from __future__ import annotations

import ctypes
import functools

from lib.backends.torch.loader import Tensor, torch
from lib.backends.torch.structures import ProposalRules, WarpShape
from lib.ops.library import checked_kernels


@functools.cache
def _library() -> ctypes.CDLL:
    """Raises InputError where it was not built, or was built from other sources."""
    library = ctypes.CDLL(str(checked_kernels()))
    for name in ("fgfa_aggregate_bad_position", "fgfa_psroi_bad_region"):
        getattr(library, name).restype = ctypes.c_int64
    return library


def _call(name: str, shape: ctypes.Structure, *tensors: Tensor | None) -> int:
    pointers = [None if tensor is None else ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
    return getattr(_library(), name)(ctypes.byref(shape), *pointers)


@functools.cache
def anchors(rules: ProposalRules) -> tuple[float, ...]:
    """x1 y1 x2 y2 of each anchor of the first cell, one after another."""
    found = torch.empty((rules.anchors, 4))
    _call("fgfa_proposal_anchors", rules.shape(1, 1, 1), found)
    return tuple(found.flatten().tolist())


class CpuOperators:
    """A `lib.backends.torch.kernels.Operators`. Raises ValueError for regions and slots that do not exist."""

    def warp(self, data: Tensor, flow: Tensor) -> Tensor:
        out = torch.empty_like(data)
        _call("fgfa_warp_forward_cpu", WarpShape(*data.shape), data, flow, out)
        return out

    def warp_backward(self, gradient: Tensor, data: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        to_data, to_flow = torch.empty_like(data), torch.empty_like(flow)
        _call("fgfa_warp_backward_cpu", WarpShape(*data.shape), gradient, data, flow, to_data, to_flow)
        return to_data, to_flow

    def psroi_mean(self, shape: ctypes.Structure, data: Tensor, rois: Tensor) -> Tensor:
        bad = _call("fgfa_psroi_bad_region", shape, rois)
        if bad >= 0:
            raise ValueError(f"rois[{bad}, 0] is {rois[bad, 0]}: not an image of the batch of {shape.batch}")
        out = torch.empty((shape.regions, shape.outputs))
        _call("fgfa_psroi_mean_forward_cpu", shape, data, rois, out)
        return out

    def psroi_mean_backward(self, shape: ctypes.Structure, gradient: Tensor, rois: Tensor) -> Tensor:
        to_data = torch.empty((shape.batch, shape.outputs * shape.group**2, shape.height, shape.width))
        _call("fgfa_psroi_mean_backward_cpu", shape, gradient, rois, to_data)
        return to_data

    def aggregate(self, shape: ctypes.Structure, ring: Tensor, flow: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        bad = _call("fgfa_aggregate_bad_position", shape, order)
        if bad >= 0:
            raise ValueError(f"order[{bad}] is {order[bad]}: not a slot of the ring of {shape.slots}")
        aggregated = torch.empty((1, shape.channels, shape.height, shape.width))
        weights = torch.empty((shape.frames, 1, shape.height, shape.width))
        _call("fgfa_aggregate_cpu", shape, ring.float(), flow, order, aggregated, weights)
        return aggregated, weights

    def multi_proposal(self, rules: ProposalRules, cls_prob: Tensor, bbox_pred: Tensor, im_info: Tensor) -> Tensor:
        batch, _, height, width = cls_prob.shape
        rois = torch.empty((batch * rules.post_nms, 5))
        shape = rules.shape(batch, height, width)
        _call("fgfa_multi_proposal_cpu", shape, cls_prob, bbox_pred, im_info, rois, None)
        return rois
