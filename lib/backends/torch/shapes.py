"""What a network's parameters look like, found by running it on tensors without memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lib.backends.base import Build, Shape
from lib.backends.torch.functions import Tensor, TorchFunctions
from lib.backends.torch.loader import torch
from lib.ops.proposal_target import output_shapes


def shapes_of(build: Build, **inputs: Shape) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Shapes of a network's parameters (args, auxs) for these shapes of its inputs; others of `inputs` are ignored."""
    functions = ShapeFunctions(**inputs)
    build(functions)
    return functions.args, functions.auxs


class ShapeFunctions(TorchFunctions):
    """`F` that makes parameters when operators ask for them, and computes only shapes.

    args, auxs: their shapes by name.
    """

    def __init__(self, **inputs: Shape):
        super().__init__({name: _empty(shape) for name, shape in inputs.items()}, torch.device("meta"))
        self.args: dict[str, Shape] = {}
        self.auxs: dict[str, Shape] = {}

    def parameter(self, name: str, shape: Shape) -> Tensor:
        self.args[name] = tuple(shape)
        return _empty(shape)

    def state(self, name: str, shape: Shape) -> Tensor:
        self.auxs[name] = tuple(shape)
        return _empty(shape)

    def warp(self, data: Tensor, flow: Tensor) -> Tensor:
        return torch.empty_like(data)

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
        _, height, width, _ = ring.shape
        aggregated, weights = (1, feature_channels, height, width), (len(order), 1, height, width)
        return [_empty(shape) for shape in (aggregated, weights)][: 1 + with_weights]

    def multi_proposal(
        self, cls_prob: Tensor, bbox_pred: Tensor, im_info: Tensor, *, name: str | None = None, **rules: Any
    ) -> Tensor:
        return _empty((len(cls_prob) * rules["post_nms_top_n"], 5))

    def psroi_mean(self, data: Tensor, rois: Tensor, *, output_dim: int, **options: Any) -> Tensor:
        return _empty((len(rois), output_dim))

    def proposal_target(self, rois: Tensor, gt_boxes: Tensor, *, name: str, **rules: Any) -> Sequence[Tensor]:
        return [_empty(shape) for shape in output_shapes(rois.shape, gt_boxes.shape, **rules)]

    def ohem(self, *inputs: Tensor, rois_per_image: int, name: str) -> Sequence[Tensor]:
        _, _, label, _, bbox_weight = inputs
        return label, bbox_weight


def _empty(shape: Shape) -> Tensor:
    return torch.empty(shape, device="meta")
