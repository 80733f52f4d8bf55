"""The CUDA kernels as nvcc compiles them for MXNet, called on PyTorch's tensors through their C interface."""

from __future__ import annotations

import ctypes

import torch

from lib.backends.torch.structures import ProposalRules, WarpShape
from lib.ops.build import CUDA_LIBRARY


class Library:
    """A `lib.backends.torch.kernels.Operators` by the library of `python -m lib.ops.build --cuda`."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(CUDA_LIBRARY))
        self._library.fgfa_multi_proposal_cuda_workspace.restype = ctypes.c_int64

    def _call(self, name: str, shape: ctypes.Structure, *arguments) -> None:
        """arguments: tensors, None, or int (passed by value)."""
        values = [
            ctypes.c_void_p(a.data_ptr()) if torch.is_tensor(a) else ctypes.c_int(a) if isinstance(a, int) else None
            for a in arguments
        ]
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        error = getattr(self._library, name)(ctypes.byref(shape), *values, stream)
        if error:
            raise RuntimeError(f"{name}: CUDA error {error}")

    def warp(self, data, flow):
        out = torch.empty_like(data)
        self._call("fgfa_warp_forward_cuda", WarpShape(*data.shape), data, flow, out)
        return out

    def warp_backward(self, gradient, data, flow):
        to_data, to_flow = torch.empty_like(data), torch.empty_like(flow)
        self._call("fgfa_warp_backward_cuda", WarpShape(*data.shape), gradient, data, flow, to_data, to_flow)
        return to_data, to_flow

    def psroi_mean(self, shape, data, rois):
        out = data.new_empty((shape.regions, shape.outputs))
        self._call("fgfa_psroi_mean_forward_cuda", shape, data, rois, out)
        return out

    def psroi_mean_backward(self, shape, gradient, rois):
        to_data = gradient.new_empty((shape.batch, shape.outputs * shape.group**2, shape.height, shape.width))
        self._call("fgfa_psroi_mean_backward_cuda", shape, gradient, rois, to_data)
        return to_data

    def aggregate(self, shape, ring, flow, order):
        aggregated = flow.new_empty((1, shape.channels, shape.height, shape.width))
        weights = flow.new_empty((shape.frames, 1, shape.height, shape.width))
        kind = int(ring.dtype == torch.bfloat16)
        self._call("fgfa_aggregate_cuda", shape, kind, ring, flow, order, aggregated, weights)
        return aggregated, weights

    def multi_proposal(self, rules: ProposalRules, cls_prob, bbox_pred, im_info):
        batch, _, height, width = cls_prob.shape
        shape = rules.shape(batch, height, width)
        size = self._library.fgfa_multi_proposal_cuda_workspace(ctypes.byref(shape))
        workspace = torch.empty(size, dtype=torch.uint8, device=cls_prob.device)
        rois = cls_prob.new_empty((batch * rules.post_nms, 5))
        self._call("fgfa_multi_proposal_cuda", shape, cls_prob, bbox_pred, im_info, rois, None, workspace)
        return rois
