"""ResNet v1 (He et al., CVPR 2016) for detection.

The stride of a stage is on its first 1x1 convolution, as published, or on the 3x3 one after it, as in torchvision.
Parameter names are those of the published ImageNet weights: conv1, bn_conv1, res2a_branch1, bn2a_branch1, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from lib.backends.functions import Functions


@dataclass(frozen=True)
class Backbone:
    """Sizes of a ResNet. The defaults are ResNet-v1-101 at stride 16.

    units, widths, strides, dilations: one entry for each of stages 2 to 5; a stage of width w has 4 w output channels.
    batch_statistics: normalise with the statistics of the batch (to train a backbone from scratch) instead of the
    moving statistics. stride_in_3x3: whether a stage's stride is on its 3x3 convolution.
    """

    units: Sequence[int] = (3, 4, 23, 3)
    widths: Sequence[int] = (64, 128, 256, 512)
    strides: Sequence[int] = (1, 2, 2, 1)
    dilations: Sequence[int] = (1, 1, 1, 2)
    stem: int = 64
    eps: float = 1e-5
    batch_statistics: bool = False
    stride_in_3x3: bool = False


def is_backbone_layer(name: str) -> bool:
    """Whether a parameter belongs to the ResNet."""
    return name.startswith(("conv1_", "bn_conv1_", "res", "bn"))


def relu(F: Functions, x, name: str | None = None):
    return F.Activation(x, act_type="relu", name=name)


def conv_bn(F: Functions, x, name: str, filters: int, net: Backbone, kernel: int = 1, stride: int = 1, dilate: int = 1):
    """Convolution without bias, padded to keep the size, then BatchNorm named after it (res… -> bn…)."""
    pad = dilate * (kernel // 2)
    x = F.Convolution(
        x,
        name=name,
        num_filter=filters,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        dilate=(dilate, dilate),
        pad=(pad, pad),
        no_bias=True,
    )
    bn_name = name.replace("res", "bn", 1) if name.startswith("res") else f"bn_{name}"
    return F.BatchNorm(
        x, name=bn_name, use_global_stats=not net.batch_statistics, fix_gamma=False, eps=net.eps, momentum=0.9
    )


def bottleneck(F: Functions, x, name: str, width: int, stride: int, dilate: int, project: bool, net: Backbone):
    """x (N, C, H, W) -> (N, 4 * width, H / stride, W / stride), ReLU after the sum."""
    shortcut = conv_bn(F, x, f"res{name}_branch1", 4 * width, net, 1, stride) if project else x
    first, second = (1, stride) if net.stride_in_3x3 else (stride, 1)
    y = relu(F, conv_bn(F, x, f"res{name}_branch2a", width, net, 1, first))
    y = relu(F, conv_bn(F, y, f"res{name}_branch2b", width, net, 3, second, dilate))
    y = conv_bn(F, y, f"res{name}_branch2c", 4 * width, net)
    return relu(F, shortcut + y, name=f"res{name}_relu")


def unit_names(stage: int, units: int) -> list[str]:
    """Names of a stage's units: 2a, 2b, 2c in stages 2 and 5; 3a, 3b1, 3b2, ... in stages 3 and 4."""
    if stage in (2, 5):
        return [f"{stage}{letter}" for letter in ascii_lowercase[:units]]
    return [f"{stage}a"] + [f"{stage}b{i}" for i in range(1, units)]


def resnet(F: Functions, data, net: Backbone):
    """data (N, 3, H, W) RGB minus mean -> (N, 4 * widths[-1], ceil(H / stride), ceil(W / stride))."""
    x = relu(F, conv_bn(F, data, "conv1", net.stem, net, kernel=7, stride=2))
    x = F.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max", name="pool1")
    table = zip(net.units, net.widths, net.strides, net.dilations)
    for stage, (units, width, stride, dilate) in enumerate(table, start=2):
        for unit, name in enumerate(unit_names(stage, units)):
            x = bottleneck(F, x, name, width, stride if unit == 0 else 1, dilate, project=unit == 0, net=net)
    return x


def feature_map(F: Functions, data, net: Backbone, channels: int = 1024, dilate: int = 6):
    """The features for detection: ResNet, a dilated 3x3 convolution and ReLU -> (N, channels, h, w)."""
    x = F.Convolution(
        resnet(F, data, net),
        name="feat_conv_3x3",
        num_filter=channels,
        kernel=(3, 3),
        pad=(dilate, dilate),
        dilate=(dilate, dilate),
    )
    return relu(F, x, name="feat_conv_3x3_relu")


def classifier(F: Functions, net: Backbone, classes: int) -> dict:
    """Image classification with this backbone, to train it from scratch.

    Inputs: data (N, 3, H, W), label (N,). Output: softmax (N, classes).
    """
    x = F.Pooling(resnet(F, F.Variable("data"), net), global_pool=True, kernel=(1, 1), pool_type="avg", name="pool5")
    x = F.FullyConnected(F.Flatten(x), num_hidden=classes, name="fc_classes")
    return {"softmax": F.SoftmaxOutput(x, F.Variable("label"), normalization="batch", name="softmax")}
