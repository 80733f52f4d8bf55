"""Converts ResNet-50, 101 and 152 of torchvision and of the published Caffe models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from lib.errors import InputError
from lib.nets.convert.caffe_file import Layer
from lib.nets.convert.layers import Converted, fold_input, for_eps, swap_colours
from lib.nets.resnet import is_backbone_layer, unit_names

SOURCE_EPS = 1e-5  # epsilon of BatchNorm in both sources

# What torchvision's weights expect: (RGB / 255 - mean) / std.
_MEAN = np.array([0.485, 0.456, 0.406])
_STD = np.array([0.229, 0.224, 0.225])

_TORCH = re.compile(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.(\w+)")
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_var"}
_CAFFE = re.compile(r"(res|bn|scale)(\d)([a-z])(\d*)(_branch\w+)")


def is_torchvision(state: Mapping[str, np.ndarray]) -> bool:
    return "layer1.0.conv1.weight" in state


def from_torchvision(state: Mapping[str, np.ndarray], means: Sequence[float], eps: float = SOURCE_EPS) -> Converted:
    """Converts a torchvision state dict. Our network needs `network.STRIDE_IN_3X3: true`.

    means: PIXEL_MEANS of our settings (blue, green, red). torchvision's scaling is folded into conv1, and the
    difference of the means into the moving mean of bn_conv1. Features are equal except at the border of the image,
    where the padding differs by the difference of the means (less than 1 of 255); with PIXEL_MEANS 103.53, 116.28,
    123.675 they are equal there too. Raises InputError for other networks, such as ResNet-18 or ResNeXt.
    """
    if "layer1.0.conv3.weight" not in state:
        raise InputError("a ResNet without bottlenecks (18 or 34); supported are ResNet-50, 101 and 152")
    second = state["layer1.0.conv2.weight"]
    if second.shape[0] != second.shape[1]:
        raise InputError(f"layer1.0.conv2 has groups ({second.shape}): a ResNeXt; supported are ResNet-50, 101 and 152")
    names = _torch_names(state)
    args: dict[str, np.ndarray] = {}
    auxs: dict[str, np.ndarray] = {}
    for source, ours in names.items():
        (auxs if ours.endswith(("_mean", "_var")) else args)[ours] = state[source].astype(np.float32)
    red, green, blue = reversed(means)
    offset = (np.array([red, green, blue]) / 255 - _MEAN) / _STD
    args["conv1_weight"], bias = fold_input(args["conv1_weight"], 1 / (255 * _STD), offset)
    auxs["bn_conv1_moving_mean"] = auxs["bn_conv1_moving_mean"] - bias
    unused = [name for name in state if name not in names and not name.endswith("num_batches_tracked")]
    return Converted(_with_eps(args, auxs, eps), auxs, sorted(unused))


def _torch_names(state: Mapping[str, np.ndarray]) -> dict[str, str]:
    """torchvision's names -> ours."""
    units = {
        stage: len({n.split(".")[1] for n in state if n.startswith(f"layer{stage - 1}.")}) for stage in range(2, 6)
    }
    letters = {stage: unit_names(stage, count) for stage, count in units.items()}
    names = {"conv1.weight": "conv1_weight"}
    names.update({f"bn1.{source}": f"bn_conv1_{ours}" for source, ours in _NORM.items()})
    for name in state:
        found = _TORCH.fullmatch(name)
        if not found:
            continue
        stage, unit, kind, number, what = found.groups()
        branch = letters[int(stage) + 1][int(unit)] + "_branch"
        branch += "1" if kind == "downsample." else "2" + "abc"[int(number) - 1]
        norm = kind == "bn" or (kind == "downsample." and number == "1")
        if norm and what in _NORM:
            names[name] = f"bn{branch}_{_NORM[what]}"
        elif not norm and what == "weight":
            names[name] = f"res{branch}_weight"
    return names


def from_caffe(layers: Mapping[str, Layer], eps: float = SOURCE_EPS) -> Converted:
    """Converts a published Caffe ResNet from BGR to RGB input, and merges its Scale layers into BatchNorm.

    Both networks subtract a mean near (103, 116, 123) and do not scale the input. They differ in pool1: Caffe's has no
    padding and rounds up; ours, as in the published MXNet weights, has padding 1 and rounds down, which shifts feature
    cells by about a pixel. The published detectors used the weights in this way. Raises InputError for other networks.
    """
    if "res2a_branch2c" not in layers:
        raise InputError(f"not a ResNet-50, 101 or 152: no res2a_branch2c among {', '.join(list(layers)[:4])} ...")
    args, auxs, biases, unused = {}, {}, {}, []
    for source, layer in layers.items():
        name, blobs = _caffe_name(source), layer.blobs
        if name.startswith("scale"):
            norm = f"bn{name[len('scale') :]}"
            args[f"{norm}_gamma"], args[f"{norm}_beta"] = (blob.ravel() for blob in blobs)
        elif name.startswith("bn"):
            mean, variance, count = (blob.ravel() for blob in blobs)
            factor = np.float32(1 / count[0] if count[0] else 0)  # blobs: weighted sums, and the sum of weights
            auxs[f"{name}_moving_mean"], auxs[f"{name}_moving_var"] = mean * factor, variance * factor
        elif is_backbone_layer(f"{name}_"):
            args[f"{name}_weight"] = blobs[0]
            if len(blobs) > 1:
                biases[name] = blobs[1].ravel()
        else:
            unused.append(source)
    for name, bias in biases.items():  # conv1 of ResNet-50 has one
        norm = "bn" + name[len("res") :] if name.startswith("res") else f"bn_{name}"
        auxs[f"{norm}_moving_mean"] = auxs[f"{norm}_moving_mean"] - bias
    args["conv1_weight"] = swap_colours(args["conv1_weight"])
    return Converted(_with_eps(args, auxs, eps), auxs, sorted(unused))


def _caffe_name(name: str) -> str:
    """Our name of a layer. Units of stages 3 and 4 are a, b1, b2, ...; those of Caffe's ResNet-50 are a, b, c, ..."""
    if name == "scale_conv1":
        return name
    found = _CAFFE.fullmatch(name)
    if not found:
        return name
    kind, stage, letter, number, branch = found.groups()
    if stage in "34" and not number and letter != "a":
        letter, number = "b", str(ord(letter) - ord("a"))
    return f"{kind}{stage}{letter}{number}{branch}"


def _with_eps(args: dict, auxs: Mapping, eps: float) -> dict:
    if eps == SOURCE_EPS:
        return args
    suffix = "_gamma"
    return {
        name: for_eps(value, auxs[name[: -len(suffix)] + "_moving_var"], SOURCE_EPS, eps)
        if name.endswith(suffix)
        else value
        for name, value in args.items()
    }
