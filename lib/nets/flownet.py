"""FlowNet-S (Dosovitskiy et al., ICCV 2015) at the resolution of the detection features (FGFA, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.backends.functions import Functions
from lib.nets.resnet import relu

SCALE_LAYER = "Convolution5_scale"  # as published, however many levels the decoder has
_LAYERS = ("flow_", "conv2", "conv3", "conv4", "conv5", "conv6", "deconv", "upsample_flow", "Convolution")


@dataclass(frozen=True)
class FlowNet:
    """Sizes of a FlowNet-S. The defaults are the published ones, with flow at stride 16.

    encoder: channels of conv1, conv2, ...; decoder: channels of the deconvolutions, coarse to fine, down to conv2.
    pool_input, pool_output: average-pool the input images or the finest level; each doubles the stride of the flow,
    which is 4 without them. scale: factor of the last layer's output.
    """

    encoder: Sequence[int] = (64, 128, 256, 512, 512, 1024)
    decoder: Sequence[int] = (512, 256, 128, 64)
    pool_input: bool = True
    pool_output: bool = True
    scale: float = 2.5


def is_flow_layer(name: str) -> bool:
    """Whether a parameter belongs to the flow network."""
    return name.startswith(_LAYERS)


def _leaky(F: Functions, x):
    return F.LeakyReLU(x, act_type="leaky", slope=0.1)


def _conv(F: Functions, x, name: str, filters: int, kernel: int = 3, stride: int = 1):
    pad = (kernel - 1) // 2
    return F.Convolution(
        x, name=name, num_filter=filters, kernel=(kernel, kernel), stride=(stride, stride), pad=(pad, pad)
    )


def _double(F: Functions, x, like, name: str, filters: int):
    """Deconvolution 4x4/2, cropped from offset (1, 1) to the size of `like`."""
    x = F.Deconvolution(x, name=name, num_filter=filters, kernel=(4, 4), stride=(2, 2), no_bias=False)
    return F.Crop(x, like, offset=(1, 1))


def double_by_convolution(F: Functions, x, like, name: str, filters: int):
    """`_double` as a 2x2 convolution to four times the channels, which are then rearranged in space. Int8 needs this,
    since it has no deconvolution; in float32 both are equally fast. The weights come from `for_convolutions`.
    """
    x = F.Convolution(x, name=name, num_filter=4 * filters, kernel=(2, 2), pad=(1, 1))
    return F.Crop(F.depth_to_space(x, block_size=2), like, offset=(1, 1))


def for_convolutions(args: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts a flow network's parameters for `double_by_convolution`: deconv<i>_weight (C, F, 4, 4) -> (4F, C, 2, 2).

    Row 2 y + s of the output is the sum over k of row y - k of the input times row 2 k + s of the kernel, k = 0, 1.
    """
    changed = dict(args)
    for name in [name for name in args if name.startswith("deconv")]:
        value = args[name]
        if name.endswith("_weight"):
            channels, filters = value.shape[:2]
            # C, F, k and s of rows, k and s of columns
            taps = value.reshape(channels, filters, 2, 2, 2, 2)[:, :, ::-1, :, ::-1]
            changed[name] = taps.transpose(3, 5, 1, 0, 2, 4).reshape(4 * filters, channels, 2, 2)
        else:
            changed[name] = np.tile(value, 4)
    return changed


def _halve(F: Functions, x):
    """2x2 average pooling with sizes rounded up; windows at the border average only existing cells."""
    return F.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="avg", pooling_convention="full")


def prepare(F: Functions, images, net: FlowNet):
    """images (N, 3, H, W), RGB minus mean -> the input of `flow_of_prepared`, half the size if net.pool_input."""
    images = images / 255.0
    return _halve(F, images) if net.pool_input else images


def image(F: Functions, net: FlowNet) -> dict:
    """Input: data (N, 3, H, W), RGB minus mean. Output: image, from `prepare`, to be kept for several flows."""
    return {"image": F.identity(prepare(F, F.Variable("data"), net), name="image")}


def encode(F: Functions, x, net: FlowNet) -> list:
    """The feature maps of levels 1, 2, ..., each half the size of the previous one."""
    levels = []
    for level, filters in enumerate(net.encoder, start=1):
        name = "flow_conv1" if level == 1 else f"conv{level}"
        x = _leaky(F, _conv(F, x, name, filters, kernel={1: 7, 2: 5, 3: 5}.get(level, 3), stride=2))
        if level >= 3:
            x = _leaky(F, _conv(F, x, f"{name}_1", filters))
        levels.append(x)
    return levels


def flow(F: Functions, current, other, net: FlowNet, every_scale: bool = False):
    """Flow from the current frames to the others.

    current, other (F, 3, H, W): RGB minus mean -> (F, 2, h, w) in feature cells. Channel 0 is x, 1 is y: the point
    (x, y) of the current frame is at (x + flow[0], y + flow[1]) in the other.
    every_scale: return a list of flows from the finest to the coarsest, for pre-training; all but the first are the
    raw predictions of the decoder's levels.
    """
    return flow_of_prepared(F, prepare(F, current, net), prepare(F, other, net), net, every_scale)


def flow_of_prepared(F: Functions, current, other, net: FlowNet, every_scale: bool = False, double=_double):
    """Like `flow`, for images from `prepare`. double: `_double`, or `double_by_convolution` with parameters from
    `for_convolutions`.
    """
    x, predictions = _decode(F, current, other, net, double)
    finest = _finest(F, x, net)
    return [finest, *predictions] if every_scale else finest


def flow_and_scale(F: Functions, current, other, net: FlowNet, channels: int, double=_double) -> tuple[Any, Any]:
    """Like `flow_of_prepared`, with the scale map that features are multiplied by once they are warped along the flow
    (Zhu et al., Deep Feature Flow, CVPR 2017, section 3) -> flow (F, 2, h, w), scale map (F, channels, h, w).
    """
    x, _ = _decode(F, current, other, net, double)
    return _finest(F, x, net), _conv(F, x, SCALE_LAYER, channels, kernel=1)


def _decode(F: Functions, current, other, net: FlowNet, double) -> tuple[Any, list]:
    """(input of the last layer, the decoder's raw predictions from the finest to the coarsest)."""
    levels = encode(F, F.concat(current, other, dim=1), net)
    x = levels[-1]
    predictions: list[Any] = []
    for index, (level, filters) in enumerate(zip(range(len(levels), 2, -1), net.decoder), start=1):
        below = levels[level - 2]
        coarse = _conv(F, x, f"Convolution{index}", 2)
        predictions.insert(0, coarse)
        detail = _leaky(F, double(F, x, below, f"deconv{level - 1}", filters))
        upsampled = _double(F, coarse, below, f"upsample_flow{level}to{level - 1}", 2)
        x = F.concat(below, detail, upsampled, dim=1)
    return _halve(F, x) if net.pool_output else x, predictions


def _finest(F: Functions, x, net: FlowNet):
    """The flow, from the decoder's output."""
    return _conv(F, x, f"Convolution{len(net.decoder) + 1}", 2) * net.scale


def chained(F: Functions, flows: Sequence, lowest=None, highest=None):
    """Flow over several steps: each of `flows` (P, 2, h, w) begins where the one before it ends.

    lowest, highest (P, 2, h, w): the flow to the first and to the last row and column of the map. A step that begins
    outside the map is that of the nearest cell of its border. One flow needs no bounds.
    """
    total, *others = flows
    for step in others:
        inside = relu(F, total - lowest) - relu(F, total - highest) + lowest
        total = total + F.warp(step, inside)
    return total


def pretraining_losses(F: Functions, net: FlowNet, weights: Sequence[float]) -> dict:
    """Losses for training on ground-truth flow: the end-point error at every scale, as FlowNet-S was trained.

    Inputs: current, other (N, 3, H, W); for scale i, counted from the finest, flow<i> (N, 2, h_i, w_i) in finest cells
    and weight<i> (N, 1, h_i, w_i). Outputs: one loss per scale, times weights[i], and the finest flow.
    """
    current, other = F.Variable("current"), F.Variable("other")
    finest, *coarser = flow(F, current, other, net, every_scale=True)
    outputs = {}
    for index, prediction in enumerate([finest, *(coarse * net.scale for coarse in coarser)]):
        difference = prediction - F.Variable(f"flow{index}")
        error = F.sqrt(F.sum(F.square(difference), axis=1, keepdims=True) + 1e-4)
        loss = F.mean(error * F.Variable(f"weight{index}"))
        outputs[f"epe{index}"] = F.MakeLoss(loss * weights[index], name=f"epe{index}")
    return {**outputs, "flow": F.BlockGrad(finest, name="flow")}
