"""FGFA inference in PyTorch, for comparison: the networks of fgfa_rfcn.network at their published sizes.

Batch norms are folded into the preceding convolutions, maps are channels-last, and the traced networks are frozen: of
the variants tried, this is PyTorch's fastest float32 on a CPU. Proposals, pooling and NMS, which PyTorch itself lacks,
are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F

from lib.nets.resnet import Backbone, unit_names

EPS = 2e-5
LAST = torch.channels_last


class Layers:
    """Convolutions with parameters by their published names."""

    def __init__(self, args: Mapping[str, np.ndarray], auxs: Mapping[str, np.ndarray]):
        self._args, self._auxs = args, auxs

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.contiguous(memory_format=LAST) if tensor.ndim == 4 else tensor

    def conv(self, x, name: str, stride: int = 1, dilate: int = 1):
        weight, bias = self._tensor(self._args[f"{name}_weight"]), self._tensor(self._args[f"{name}_bias"])
        return F.conv2d(x, weight, bias, stride, dilate * (weight.shape[-1] // 2), dilate)

    def conv_bn(self, x, name: str, stride: int = 1, dilate: int = 1):
        bn = name.replace("res", "bn", 1) if name.startswith("res") else f"bn_{name}"
        factor = self._args[f"{bn}_gamma"] / np.sqrt(self._auxs[f"{bn}_moving_var"] + EPS)
        weight = self._tensor(self._args[f"{name}_weight"] * factor[:, None, None, None])
        bias = self._tensor(self._args[f"{bn}_beta"] - self._auxs[f"{bn}_moving_mean"] * factor)
        return F.conv2d(x, weight, bias, stride, dilate * (weight.shape[-1] // 2), dilate)

    def double(self, x, like, name: str):
        x = F.conv_transpose2d(
            x, self._tensor(self._args[f"{name}_weight"]), self._tensor(self._args[f"{name}_bias"]), 2
        )
        return x[:, :, 1 : 1 + like.shape[2], 1 : 1 + like.shape[3]]


class Features(torch.nn.Module):
    """data (1, 3, H, W) -> features and embedding (1, 3072, h, w)."""

    def __init__(self, layers: Layers):
        super().__init__()
        self._layers = layers

    def forward(self, data):
        net, layers = Backbone(), self._layers
        x = F.max_pool2d(F.relu(layers.conv_bn(data, "conv1", 2)), 3, 2, 1)
        table = zip(net.units, net.strides, net.dilations)
        for stage, (units, stride, dilate) in enumerate(table, start=2):
            for unit, name in enumerate(unit_names(stage, units)):
                step = stride if unit == 0 else 1
                shortcut = layers.conv_bn(x, f"res{name}_branch1", step) if unit == 0 else x
                y = F.relu(layers.conv_bn(x, f"res{name}_branch2a", step))
                y = F.relu(layers.conv_bn(y, f"res{name}_branch2b", 1, dilate))
                x = F.relu(shortcut + layers.conv_bn(y, f"res{name}_branch2c"))
        features = F.relu(layers.conv(x, "feat_conv_3x3", 1, 6))
        y = F.relu(layers.conv(features, "em_conv1"))
        y = F.relu(layers.conv(y, "em_conv2"))
        return torch.cat([features, layers.conv(y, "em_conv3")], 1)


class Flow(torch.nn.Module):
    """current (1, 3, H, W), others (F, 3, H, W) -> flow (F, 2, h, w) in feature cells."""

    def __init__(self, layers: Layers):
        super().__init__()
        self._layers = layers

    def forward(self, current, others):
        layers, leaky = self._layers, lambda x: F.leaky_relu(x, 0.1)
        halve = lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)  # noqa: E731
        x = torch.cat([halve(current / 255).expand(others.shape[0], -1, -1, -1), halve(others / 255)], 1)
        x = x.contiguous(memory_format=LAST)
        levels = []
        for level in range(1, 7):
            x = leaky(layers.conv(x, "flow_conv1" if level == 1 else f"conv{level}", 2))
            if level >= 3:
                x = leaky(layers.conv(x, f"conv{level}_1"))
            levels.append(x)
        for number, level in enumerate(range(6, 2, -1), start=1):
            below = levels[level - 2]
            detail = leaky(layers.double(x, below, f"deconv{level - 1}"))
            upsampled = layers.double(
                layers.conv(x, f"Convolution{number}"), below, f"upsample_flow{level}to{level - 1}"
            )
            x = torch.cat([below, detail, upsampled], 1)
        return layers.conv(halve(x), "Convolution5") * 2.5


class Aggregation(torch.nn.Module):
    """features (F, 3072, h, w), flow (F, 2, h, w), current (1,), the index of the current frame -> its aggregated map
    and the outputs of the heads' convolutions.
    """

    def __init__(self, layers: Layers):
        super().__init__()
        self._layers = layers

    def forward(self, features, flow, current):
        height, width = features.shape[2:]
        x = torch.arange(width)[None, None, :] + flow[:, 0]
        y = torch.arange(height)[None, :, None] + flow[:, 1]
        grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], 3)
        warped = F.grid_sample(features, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        embeddings = warped[:, 1024:]
        cosine = F.cosine_similarity(embeddings, embeddings[current], 1)
        aggregated = (warped[:, :1024] * cosine.softmax(0)[:, None]).sum(0, keepdim=True)
        for_rpn, for_head = aggregated[:, :512], aggregated[:, 512:]
        heads = [self._layers.conv(for_rpn, name) for name in ("rpn_cls_score", "rpn_bbox_pred")]
        heads += [self._layers.conv(for_head, name) for name in ("rfcn_cls", "rfcn_bbox")]
        return aggregated, *heads


class TorchFgfa:
    """A sliding window in its steady state: `frame(image)` adds a frame and returns the aggregated map of the frame in
    the middle of the window.
    """

    def __init__(self, args: Mapping, auxs: Mapping, image: np.ndarray, reach: int):
        layers = Layers(args, auxs)
        frames = 2 * reach + 1
        data = self._prepared(image)
        with torch.inference_mode(False), torch.no_grad():
            self._features = self._frozen(Features(layers), data)
            first = self._features(data)
            self._ring = first.expand(frames, -1, -1, -1).contiguous()
            self._images = data.expand(frames, -1, -1, -1).contiguous(memory_format=LAST)
            self._flow = self._frozen(Flow(layers), data, self._images)
            motion = self._flow(data, self._images)
            self._aggregation = self._frozen(Aggregation(layers), self._ring, motion, torch.tensor([0]))
        self._taken = 0

    @staticmethod
    def _prepared(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image).contiguous(memory_format=LAST)

    @staticmethod
    def _frozen(module: torch.nn.Module, *inputs):
        frozen = torch.jit.freeze(torch.jit.trace(module.eval(), inputs, check_trace=False))
        for _ in range(2):  # the first runs optimise the graph
            frozen(*inputs)
        return frozen

    @torch.no_grad()
    def frame(self, image: np.ndarray) -> torch.Tensor:
        """image (1, 3, H, W) -> (1, 1024, h, w)."""
        frames = len(self._ring)
        data, slot = self._prepared(image), self._taken % frames
        self._ring[slot] = self._features(data)[0]
        self._images[slot] = data[0]
        self._taken += 1
        current = (slot - frames // 2) % frames
        motion = self._flow(self._images[current : current + 1], self._images)
        # The order of the frames does not affect the sum, so the ring buffer is not reordered.
        return self._aggregation(self._ring, motion, torch.tensor([current]))[0]
