"""`F` over PyTorch: every operator executes at once, on inputs and parameters that are found by name.

A network is run by calling it: `build(TorchFunctions(values, device))`. Convolutions compute in the type of their
weights, so that bfloat16 weights make a bfloat16 network; the compiled operators compute in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lib.backends.torch import kernels
from lib.backends.torch.loader import Tensor, torch
from lib.backends.torch.reshape import decoded
from lib.ops import ohem as ohem_module
from lib.ops import proposal_target as proposal_target_module

_nn = torch.nn.functional


class TorchFunctions:
    """One execution of a network; see `lib.backends.functions.Functions` for the operators.

    values: inputs, parameters and auxiliary states by name. training: BatchNorm without global statistics normalises by
    the batch, and losses are collected. statistics: it also updates the moving statistics in `values`.
    """

    fused = True

    def __init__(
        self,
        values: Mapping[str, Tensor],
        device: torch.device,
        *,
        training: bool = False,
        statistics: bool = False,
    ):
        self._values, self._device = values, device
        self._training, self._statistics = training, statistics
        self.losses: list[Tensor] = []  # scalars; the gradient of a training step is that of their sum

    def Variable(self, name: str) -> Tensor:
        return self._values[name]

    def parameter(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A parameter of an operator. shape: what it must be; only `lib.backends.torch.shapes` needs to know."""
        return self._values[name]

    def state(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """An auxiliary state of an operator."""
        return self._values[name]

    # Layers with parameters

    def Convolution(
        self,
        data: Tensor,
        *,
        name: str,
        num_filter: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        dilate: tuple[int, int] = (1, 1),
        pad: tuple[int, int] = (0, 0),
        no_bias: bool = False,
    ) -> Tensor:
        weight = self.parameter(f"{name}_weight", (num_filter, data.shape[1], *kernel))
        bias = None if no_bias else self.parameter(f"{name}_bias", (num_filter,))
        return _nn.conv2d(data.to(weight.dtype), weight, bias, stride, pad, dilate)

    def Deconvolution(
        self,
        data: Tensor,
        *,
        name: str,
        num_filter: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        no_bias: bool,
    ) -> Tensor:
        weight = self.parameter(f"{name}_weight", (data.shape[1], num_filter, *kernel))
        bias = None if no_bias else self.parameter(f"{name}_bias", (num_filter,))
        return _nn.conv_transpose2d(data.to(weight.dtype), weight, bias, stride)

    def FullyConnected(self, data: Tensor, *, name: str, num_hidden: int) -> Tensor:
        data = data.flatten(1)
        weight = self.parameter(f"{name}_weight", (num_hidden, data.shape[1]))
        return _nn.linear(data.to(weight.dtype), weight, self.parameter(f"{name}_bias", (num_hidden,)))

    def BatchNorm(
        self, data: Tensor, *, name: str, use_global_stats: bool, fix_gamma: bool, eps: float, momentum: float
    ) -> Tensor:
        shape = (data.shape[1],)
        gamma, beta = self.parameter(f"{name}_gamma", shape), self.parameter(f"{name}_beta", shape)
        mean, var = self.state(f"{name}_moving_mean", shape), self.state(f"{name}_moving_var", shape)
        if fix_gamma:
            gamma = torch.ones_like(gamma)
        if use_global_stats or not self._training:
            return _nn.batch_norm(data, mean, var, gamma, beta, eps=eps)
        if self._statistics:
            with torch.no_grad():  # MXNet keeps the variance that it divides by; PyTorch would keep the unbiased one
                batch_var, batch_mean = torch.var_mean(data, dim=(0, 2, 3), correction=0)
                mean.mul_(momentum).add_(batch_mean, alpha=1 - momentum)
                var.mul_(momentum).add_(batch_var, alpha=1 - momentum)
        return _nn.batch_norm(data, None, None, gamma, beta, training=True, eps=eps)

    # Layers without parameters

    def Activation(self, data: Tensor, *, act_type: str, name: str | None = None) -> Tensor:
        return {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}[act_type](data)

    def LeakyReLU(self, data: Tensor, *, act_type: str, slope: float) -> Tensor:
        _only(act_type, "leaky")
        return _nn.leaky_relu(data, slope)

    def Pooling(
        self,
        data: Tensor,
        *,
        kernel: tuple[int, int],
        pool_type: str,
        stride: tuple[int, int] = (1, 1),
        pad: tuple[int, int] = (0, 0),
        pooling_convention: str = "valid",
        global_pool: bool = False,
        name: str = "",
    ) -> Tensor:
        if global_pool:
            kernel, stride, pad = (data.shape[2], data.shape[3]), (1, 1), (0, 0)
        full = pooling_convention == "full"
        if pool_type == "max":
            return _nn.max_pool2d(data, kernel, stride, pad, ceil_mode=full)
        _only(pool_type, "avg")
        return _nn.avg_pool2d(data, kernel, stride, pad, ceil_mode=full, count_include_pad=not full)

    def softmax(self, data: Tensor, *, axis: int) -> Tensor:
        return torch.softmax(data.float(), axis)

    def L2Normalization(self, data: Tensor, *, mode: str, eps: float) -> Tensor:
        _only(mode, "channel")
        data = data.float()
        return data / torch.sqrt((data * data).sum(1, keepdim=True) + eps)

    # Shapes

    def Crop(self, data: Tensor, like: Tensor, *, offset: tuple[int, int]) -> Tensor:
        (top, left), (height, width) = offset, like.shape[2:]
        return data[:, :, top : top + height, left : left + width]

    def Flatten(self, data: Tensor) -> Tensor:
        return data.flatten(1)

    def depth_to_space(self, data: Tensor, *, block_size: int) -> Tensor:
        batch, channels, height, width = data.shape
        blocks = data.reshape(batch, block_size, block_size, channels // block_size**2, height, width)
        spread = blocks.permute(0, 3, 4, 1, 5, 2)
        return spread.reshape(batch, -1, height * block_size, width * block_size)

    def concat(self, *data: Tensor, dim: int) -> Tensor:
        return torch.cat(data, dim)

    def slice_axis(self, data: Tensor, axis: int, begin: int, end: int | None) -> Tensor:
        return data[(slice(None),) * axis + (slice(begin, end),)]

    def reshape(self, data: Tensor, shape: tuple[int, ...], *, name: str = "") -> Tensor:
        return data.reshape(decoded(shape, data.shape))

    def transpose(self, data: Tensor, *, axes: tuple[int, ...]) -> Tensor:
        return data.permute(axes)

    def repeat(self, data: Tensor, *, repeats: int, axis: int) -> Tensor:
        return data.repeat_interleave(repeats, axis)

    def take(self, data: Tensor, indices: Tensor) -> Tensor:
        return data[indices.long()]

    # Arithmetic

    def full(self, *, shape: tuple[int, ...], val: float) -> Tensor:
        return torch.full(shape, val, device=self._device)

    def zeros_like(self, data: Tensor) -> Tensor:
        return torch.zeros_like(data)

    def identity(self, data: Tensor, *, name: str) -> Tensor:
        return data

    def BlockGrad(self, data: Tensor, *, name: str = "") -> Tensor:
        return data.detach()

    def sum(self, data: Tensor, *, axis: int, keepdims: bool, name: str | None = None) -> Tensor:
        return data.sum(axis, keepdim=keepdims)

    def mean(self, data: Tensor) -> Tensor:
        return data.mean()

    def sqrt(self, data: Tensor) -> Tensor:
        return torch.sqrt(data)

    def square(self, data: Tensor) -> Tensor:
        return torch.square(data)

    def broadcast_mul(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def smooth_l1(self, data: Tensor, *, scalar: float) -> Tensor:
        return _nn.smooth_l1_loss(data, torch.zeros_like(data), beta=1 / scalar**2, reduction="none")

    # Losses

    def SoftmaxOutput(
        self,
        data: Tensor,
        label: Tensor,
        *,
        name: str,
        normalization: str,
        multi_output: bool = False,
        use_ignore: bool = False,
        ignore_label: int = -1,
    ) -> Tensor:
        if self._training:
            target = label.reshape(data.shape[0], *data.shape[2:]).long()
            ignored = ignore_label if use_ignore else -100  # PyTorch's default, which is no class
            count = {"valid": (target != ignored).sum().clamp(min=1), "batch": data.shape[0]}[normalization]
            loss = _nn.cross_entropy(data.float(), target, ignore_index=ignored, reduction="sum")
            self.losses.append(loss / count)
        return self.softmax(data.detach(), axis=1)

    def MakeLoss(self, data: Tensor, *, name: str, grad_scale: float = 1.0) -> Tensor:
        if self._training:
            self.losses.append(data.float().sum() * grad_scale)
        return data.detach()

    # Operators of this project

    def warp(self, data: Tensor, flow: Tensor) -> Tensor:
        return kernels.Warp.apply(data, flow)

    def aggregate(
        self,
        ring: Tensor,
        flow: Tensor,
        order: Tensor,
        *,
        feature_channels: int,
        current: int,
        name: str | None = None,
        with_weights: bool = False,
    ) -> Sequence[Tensor]:
        return kernels.aggregate(ring, flow, order, feature_channels, current)[: 1 + with_weights]

    def multi_proposal(
        self, cls_prob: Tensor, bbox_pred: Tensor, im_info: Tensor, *, name: str | None = None, **rules: Any
    ) -> Tensor:
        return kernels.multi_proposal(cls_prob, bbox_pred, im_info, **rules)

    def psroi_mean(
        self,
        data: Tensor,
        rois: Tensor,
        *,
        output_dim: int,
        group_size: int,
        spatial_scale: float,
        name: str | None = None,
    ) -> Tensor:
        return kernels.PsroiMean.apply(data, rois, output_dim, group_size, spatial_scale)

    def proposal_target(self, rois: Tensor, gt_boxes: Tensor, *, name: str, **rules: Any) -> Sequence[Tensor]:
        return self._in_numpy(proposal_target_module.proposal_target, rois, gt_boxes, **rules)

    def ohem(self, *inputs: Tensor, rois_per_image: int, name: str) -> Sequence[Tensor]:
        return self._in_numpy(ohem_module.ohem, *inputs, rois_per_image=rois_per_image)

    def _in_numpy(self, compute: Any, *inputs: Tensor, **options: Any) -> list[Tensor]:
        """Outputs of a numpy function, without gradient."""
        arrays = compute(*(value.detach().cpu().numpy() for value in inputs), **options)
        return [torch.from_numpy(np.ascontiguousarray(array)).to(self._device) for array in arrays]


def _only(value: str, supported: str) -> None:
    if value != supported:
        raise ValueError(f"{value!r} is not supported, only {supported!r}")
