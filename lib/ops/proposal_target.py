"""The training operator that turns proposals and ground truth into the head's labels and box targets."""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Sequence

import numpy as np

from lib.backends.mxnet.loader import mx
from lib.bbox.sample import sample_rois

_NAME = "fgfa_proposal_target"


def proposal_target(
    rois,
    gt_boxes,
    *,
    num_classes: int,
    class_agnostic: bool = True,
    batch_images: int = 1,
    batch_rois: int = -1,
    fg_fraction: float = 0.25,
    fg_thresh: float = 0.5,
    bg_thresh_hi: float = 0.5,
    bg_thresh_lo: float = 0.0,
    regression_thresh: float = 0.5,
    bbox_means: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
    bbox_stds: Sequence[float] = (0.1, 0.1, 0.2, 0.2),
    bbox_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    name: str = "proposal_target",
) -> tuple:
    """Symbols (rois, label, bbox_target, bbox_weight) of one image; no gradient passes through.

    rois (N, 5) batch index x1 y1 x2 y2; gt_boxes (1, G, 5) x1 y1 x2 y2 class, both in pixels of the resized image.
    `num_classes` counts the box classes, background included (2 for class-agnostic boxes). Returns R rois,
    R = N + G for batch_rois -1, else batch_rois; the rules are those of `lib.bbox.sample.sample_rois`. What
    batch_rois > 0 draws depends on the rois alone, so that a repeated step is the same step.
    Raises ValueError for more than one image.
    """
    if batch_images != 1:
        raise ValueError(f"training takes one image a device, not {batch_images}")
    register()
    options = {
        "num_reg_classes": int(num_classes),
        "class_agnostic": bool(class_agnostic),
        "batch_rois": int(batch_rois),
        "fg_fraction": float(fg_fraction),
        "fg_thresh": float(fg_thresh),
        "bg_thresh_hi": float(bg_thresh_hi),
        "bg_thresh_lo": float(bg_thresh_lo),
        "regression_thresh": float(regression_thresh),
        "bbox_means": [float(v) for v in bbox_means],
        "bbox_stds": [float(v) for v in bbox_stds],
        "bbox_weights": [float(v) for v in bbox_weights],
    }
    return tuple(mx.sym.Custom(rois, gt_boxes, op_type=_NAME, options=json.dumps(options), name=name))


@functools.cache
def register() -> None:
    """Makes the operator known to MXNet; a symbol that holds it does not load from JSON before."""

    class ProposalTarget(mx.operator.CustomOp):
        def __init__(self, options: dict) -> None:
            super().__init__()
            self._options = options

        def forward(self, is_train, req, in_data, out_data, aux) -> None:
            rois, gt_boxes = (array.asnumpy() for array in in_data)
            rng = np.random.default_rng(zlib.crc32(rois.tobytes()))
            results = sample_rois(rois, gt_boxes[0], rng=rng, **self._options)
            for index, value in enumerate(results):
                self.assign(out_data[index], req[index], mx.nd.array(value, ctx=out_data[index].context))

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux) -> None:
            for index, gradient in enumerate(in_grad):
                self.assign(gradient, req[index], 0)

    @mx.operator.register(_NAME)
    class ProposalTargetProp(mx.operator.CustomOpProp):
        def __init__(self, options: str) -> None:
            super().__init__(need_top_grad=False)
            self._options = json.loads(options)

        def list_arguments(self) -> list[str]:
            return ["rois", "gt_boxes"]

        def list_outputs(self) -> list[str]:
            return ["rois_output", "label", "bbox_target", "bbox_weight"]

        def infer_shape(self, in_shape):
            rois, gt_boxes = in_shape
            count = self._options["batch_rois"]
            if count < 0:
                count = rois[0] + gt_boxes[1]
            columns = 4 * self._options["num_reg_classes"]
            return in_shape, [(count, 5), (count,), (count, columns), (count, columns)], []

        def declare_backward_dependency(self, out_grad, in_data, out_data) -> list:
            return []

        def create_operator(self, ctx, shapes, dtypes) -> ProposalTarget:
            return ProposalTarget(self._options)
