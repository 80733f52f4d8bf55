"""Online hard example mining (Shrivastava et al., CVPR 2016): the head learns from its hardest rois alone."""

from __future__ import annotations

import functools

import numpy as np

from lib.backends.mxnet.loader import mx

_NAME = "fgfa_ohem"


def roi_losses(
    cls_score: np.ndarray, bbox_pred: np.ndarray, label: np.ndarray, bbox_target: np.ndarray, bbox_weight: np.ndarray
) -> np.ndarray:
    """Class loss plus box loss of every roi, (R,) float32; -inf where the label is -1.

    cls_score (R, C) before the softmax, label (R,), the others (R, 4 * box classes). The class loss is
    -log softmax of the label, the box loss the weighted smooth-L1 summed over the coordinates.
    """
    rows = np.arange(len(label))
    shifted = cls_score - cls_score.max(axis=1, keepdims=True)
    class_loss = np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, np.maximum(label, 0).astype(np.int64)]
    distance = np.abs(bbox_pred - bbox_target)
    smooth = np.where(distance < 1, 0.5 * distance * distance, distance - 0.5)
    losses = class_loss + (bbox_weight * smooth).sum(axis=1)
    losses[label < 0] = -np.inf
    return losses


def hardest(losses: np.ndarray, count: int) -> np.ndarray:
    """Rows of the `count` largest losses (all where there are fewer), the first rows of equal ones."""
    return np.argsort(-losses, kind="stable")[:count]


def ohem(
    cls_score, bbox_pred, labels, bbox_targets, bbox_weights, *, rois_per_image: int = 128, name: str = "ohem"
) -> tuple:
    """Symbols (labels_ohem (R,), bbox_weights_ohem (R, 4 * box classes)); no gradient passes through.

    The `rois_per_image` rois with the largest loss keep their label and weights; the others get -1 and 0.
    """
    register()
    inputs = (cls_score, bbox_pred, labels, bbox_targets, bbox_weights)
    return tuple(mx.sym.Custom(*inputs, op_type=_NAME, rois_per_image=int(rois_per_image), name=name))


@functools.cache
def register() -> None:
    """Makes the operator known to MXNet; a symbol that holds it does not load from JSON before."""

    class Ohem(mx.operator.CustomOp):
        def __init__(self, count: int) -> None:
            super().__init__()
            self._count = count

        def forward(self, is_train, req, in_data, out_data, aux) -> None:
            arrays = [array.asnumpy() for array in in_data]
            label, weight = arrays[2], arrays[4]
            keep = hardest(roi_losses(*arrays), self._count)
            new_label, new_weight = np.full_like(label, -1), np.zeros_like(weight)
            new_label[keep], new_weight[keep] = label[keep], weight[keep]
            for index, value in enumerate((new_label, new_weight)):
                self.assign(out_data[index], req[index], mx.nd.array(value, ctx=out_data[index].context))

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux) -> None:
            for index, gradient in enumerate(in_grad):
                self.assign(gradient, req[index], 0)

    @mx.operator.register(_NAME)
    class OhemProp(mx.operator.CustomOpProp):
        def __init__(self, rois_per_image: str) -> None:
            super().__init__(need_top_grad=False)
            self._count = int(rois_per_image)

        def list_arguments(self) -> list[str]:
            return ["cls_score", "bbox_pred", "labels", "bbox_targets", "bbox_weights"]

        def list_outputs(self) -> list[str]:
            return ["labels_ohem", "bbox_weights_ohem"]

        def infer_shape(self, in_shape):
            return in_shape, [in_shape[2], in_shape[4]], []

        def declare_backward_dependency(self, out_grad, in_data, out_data) -> list:
            return []

        def create_operator(self, ctx, shapes, dtypes) -> Ohem:
            return Ohem(self._count)
