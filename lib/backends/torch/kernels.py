"""The operators of this project on tensors: on the CPU its C library, on a CUDA GPU its CUDA kernels.

Arguments are those of `lib.backends.functions.Functions`. Inputs that are not contiguous float32 are copied; nothing
leaves the device.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Sequence
from typing import Any, Protocol

from lib.backends.torch.compositions import Compositions
from lib.backends.torch.cpu import CpuOperators
from lib.backends.torch.cuda import CudaOperators
from lib.backends.torch.driver import Driver, DriverError
from lib.backends.torch.loader import Tensor, torch
from lib.backends.torch.structures import AggregateShape, ProposalRules, PsroiShape
from lib.ops.nvrtc import NvrtcError

log = logging.getLogger(__name__)


class Operators(Protocol):
    """The operators on one kind of device, of contiguous float32 tensors whose shapes fit."""

    def warp(self, data: Tensor, flow: Tensor) -> Tensor: ...

    def warp_backward(self, gradient: Tensor, data: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of data and flow."""

    def psroi_mean(self, shape: ctypes.Structure, data: Tensor, rois: Tensor) -> Tensor: ...

    def psroi_mean_backward(self, shape: ctypes.Structure, gradient: Tensor, rois: Tensor) -> Tensor: ...

    def aggregate(self, shape: ctypes.Structure, ring: Tensor, flow: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """(aggregated (1, C, H, W), weights (F, 1, H, W)). The ring may be bfloat16."""

    def multi_proposal(self, rules: ProposalRules, cls_prob: Tensor, bbox_pred: Tensor, im_info: Tensor) -> Tensor: ...


@functools.cache
def operators_on(device: torch.device) -> Operators:
    """The operators of a device. Logs a warning where a GPU has to do without the CUDA kernels."""
    if device.type != "cuda":
        return CpuOperators()
    try:
        return CudaOperators(Driver(device))
    except (NvrtcError, DriverError) as error:
        log.warning("gpus: the CUDA kernels cannot be used, PyTorch's operators replace them and are slower: %s", error)
        return Compositions()


def _ready(tensor: Tensor) -> Tensor:
    return tensor.detach().float().contiguous()


def _expect(name: str, tensor: Tensor, *shape: int) -> None:
    """The kernels trust the shapes that they are given."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, not {shape}")


class Warp(torch.autograd.Function):
    """`Warp.apply(data, flow)`."""

    @staticmethod
    def forward(ctx: Any, data: Tensor, flow: Tensor) -> Tensor:
        batch, _, height, width = data.shape
        _expect("flow", flow, batch, 2, height, width)
        data, flow = _ready(data), _ready(flow)
        ctx.save_for_backward(data, flow)
        return operators_on(data.device).warp(data, flow)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return operators_on(gradient.device).warp_backward(_ready(gradient), *ctx.saved_tensors)


class PsroiMean(torch.autograd.Function):
    """`PsroiMean.apply(data, rois, output_dim, group_size, spatial_scale)`."""

    @staticmethod
    def forward(ctx: Any, data: Tensor, rois: Tensor, output_dim: int, group_size: int, spatial_scale: float) -> Tensor:
        batch, _, height, width = data.shape
        _expect("data", data, batch, group_size**2 * output_dim, height, width)
        _expect("rois", rois, len(rois), 5)
        ctx.shape = PsroiShape(batch, output_dim, group_size, height, width, len(rois), spatial_scale)
        data, rois = _ready(data), _ready(rois)
        ctx.save_for_backward(rois)
        return operators_on(data.device).psroi_mean(ctx.shape, data, rois)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        operators = operators_on(gradient.device)
        to_data = operators.psroi_mean_backward(ctx.shape, _ready(gradient), *ctx.saved_tensors)
        return to_data, None, None, None, None


def aggregate(ring: Tensor, flow: Tensor, order: Tensor, feature_channels: int, current: int) -> tuple[Tensor, Tensor]:
    """(aggregated (1, C, H, W), weights (F, 1, H, W)). A ring in bfloat16 is read as it is."""
    slots, height, width, channels = ring.shape
    frames = len(order)
    _expect("flow", flow, frames, 2, height, width)
    _expect("order", order, frames)
    if not 0 < feature_channels < channels or not 0 <= current < frames:
        raise ValueError(f"{feature_channels} of {channels} channels, frame {current} of {frames}")
    shape = AggregateShape(slots, frames, height, width, feature_channels, channels - feature_channels, current)
    ring = ring.detach().contiguous() if ring.dtype == torch.bfloat16 else _ready(ring)
    return operators_on(ring.device).aggregate(shape, ring, _ready(flow), _ready(order))


def multi_proposal(
    cls_prob: Tensor,
    bbox_pred: Tensor,
    im_info: Tensor,
    *,
    feature_stride: float,
    scales: Sequence[float],
    ratios: Sequence[float],
    pre_nms_top_n: int,
    post_nms_top_n: int,
    nms_threshold: float,
    min_size: float,
) -> Tensor:
    """rois (B * post, 5)."""
    rules = ProposalRules(
        feature_stride, tuple(scales), tuple(ratios), pre_nms_top_n, post_nms_top_n, nms_threshold, min_size
    )
    batch, _, height, width = cls_prob.shape
    _expect("cls_prob", cls_prob, batch, 2 * rules.anchors, height, width)
    _expect("bbox_pred", bbox_pred, batch, 4 * rules.anchors, height, width)
    _expect("im_info", im_info, batch, 3)
    inputs = (_ready(each) for each in (cls_prob, bbox_pred, im_info))
    return operators_on(cls_prob.device).multi_proposal(rules, *inputs)
