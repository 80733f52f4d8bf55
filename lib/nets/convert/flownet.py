"""Converts FlowNet-S of the widely used PyTorch re-implementation, and of the published Caffe model.

All of them predict flow / 20 in pixels of their input. Ours gets images halved by `FLOW_POOL_INPUT` and predicts flow
in feature cells: at stride 16 the factor is 20 * 2 / 16 = 2.5, which is FlowNet.scale; at other strides the remaining
factor is folded into the last layer. The networks differ where `FLOW_POOL_OUTPUT` is on, as published: ours averages
the finest level over 2 x 2 cells before the last layer, whose kernel then spans twice the distance that it was trained
on. The result is close to the source's averaged flow where that is smooth, and detector training adapts to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from lib.errors import InputError
from lib.nets.convert.caffe_file import Layer
from lib.nets.convert.layers import Converted, fold_batch_norm, fold_input, swap_colours
from lib.nets.flownet import FlowNet, is_flow_layer

TORCH_MEANS = (0.45 * 255, 0.432 * 255, 0.411 * 255)  # red, green, blue; subtracted by the PyTorch network
DIV_FLOW = 20.0
_TORCH_EPS = 1e-5
_UPSAMPLED = re.compile(r"upsampled_flow(\d)_to_(\d)")


def is_torch_flownet(state: Mapping[str, np.ndarray]) -> bool:
    return "conv1.0.weight" in state and "predict_flow2.weight" in state


def from_torch(
    state: Mapping[str, np.ndarray],
    net: FlowNet,
    means: Sequence[float],
    source_means: Sequence[float] = TORCH_MEANS,
    div_flow: float = DIV_FLOW,
) -> Converted:
    """Converts a PyTorch FlowNetS state dict; BatchNorm, if present, is folded into the convolutions.

    net: our layer sizes. means: PIXEL_MEANS (blue, green, red). source_means: what the source subtracts (red, green,
    blue; 0 to 255); the difference is folded into the bias of the first layer. Raises InputError for other networks.
    """
    if "conv3_1.0.weight" not in state or "conv_redir.0.weight" in state:
        raise InputError("a FlowNet, but not FlowNet-S, which is the only one supported")
    args: dict[str, np.ndarray] = {}
    used = set()
    for source in state:
        if not source.endswith(".weight") or state[source].ndim != 4:
            continue
        module = source[: -len(".weight")]
        name = _torch_name(module.split(".")[0], len(net.encoder))
        weight, norm = state[source], f"{module.split('.')[0]}.1"
        if f"{norm}.running_var" in state:
            parts = [f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
            gamma, beta, mean, variance = (state[part] for part in parts)
            weight, bias = fold_batch_norm(weight, gamma, beta, mean, variance, _TORCH_EPS)
            used |= {*parts, f"{norm}.num_batches_tracked"}
        else:  # most versions have no bias in prediction and upsampling layers
            channels = weight.shape[1] if name.startswith(("deconv", "upsample")) else weight.shape[0]
            bias = state.get(f"{module}.bias", np.zeros(channels, np.float32))
        args[f"{name}_weight"], args[f"{name}_bias"] = weight.astype(np.float32), bias.astype(np.float32)
        used |= {source, f"{module}.bias"}
    _finish(args, net, means, source_means, div_flow)
    return Converted(args, {}, sorted(set(state) - used))


def from_caffe(
    layers: Mapping[str, Layer], net: FlowNet, means: Sequence[float], source_means: Sequence[float] | None = None
) -> Converted:
    """Converts the published Caffe FlowNetS from BGR to RGB input.

    source_means: what the source subtracts (red, green, blue). The Caffe model stores it in a separate layer, which is
    not read; the default is our PIXEL_MEANS. Raises InputError for other networks.
    """
    last = f"Convolution{len(net.decoder) + 1}"
    if last not in layers or "conv3_1" not in layers:
        raise InputError(f"not a FlowNet-S: no layer {last} among {', '.join(list(layers)[:4])} ...")
    args, unused = {}, []
    for source, layer in layers.items():
        name = "flow_conv1" if source == "conv1" else source
        if not is_flow_layer(name) or len(layer.blobs) != 2:
            unused.append(source)
            continue
        args[f"{name}_weight"], args[f"{name}_bias"] = layer.blobs[0], layer.blobs[1].ravel()
    args["flow_conv1_weight"] = swap_colours(args["flow_conv1_weight"])
    _finish(args, net, means, source_means or tuple(reversed(means)), DIV_FLOW)
    return Converted(args, {}, sorted(unused))


def _torch_name(module: str, levels: int) -> str:
    """conv1 -> flow_conv1, predict_flow6 -> Convolution1, upsampled_flow6_to_5 -> upsample_flow6to5, others as is."""
    if module == "conv1":
        return "flow_conv1"
    if module.startswith("predict_flow"):
        return f"Convolution{levels + 1 - int(module[-1])}"
    return _UPSAMPLED.sub(r"upsample_flow\1to\2", module)


def _finish(args: dict, net: FlowNet, means: Sequence[float], source_means: Sequence[float], div_flow: float) -> None:
    """Folds the difference of the means into the first layer and the unit of the flow into the last."""
    offset = (np.array([*reversed(means)]) - np.array(source_means)) / 255
    args["flow_conv1_weight"], bias = fold_input(args["flow_conv1_weight"], np.ones(3), offset)
    args["flow_conv1_bias"] = args["flow_conv1_bias"] + bias
    stride = 4 << net.pool_input << net.pool_output
    factor = np.float32(div_flow * (2 if net.pool_input else 1) / stride / net.scale)
    last = f"Convolution{len(net.decoder) + 1}"
    for part in ("weight", "bias"):
        args[f"{last}_{part}"] = args[f"{last}_{part}"] * factor
