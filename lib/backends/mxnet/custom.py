"""Training operators in Python: numpy functions of `lib.ops` as custom operators of MXNet, without gradients."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lib.backends.mxnet.loader import mx
from lib.ops import ohem as ohem_module
from lib.ops import proposal_target as proposal_target_module


class _Operator(NamedTuple):
    """compute(*inputs, **options) -> outputs, in numpy; shapes(input shapes, options) -> output shapes."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    compute: Callable[..., Sequence]
    shapes: Callable[[Sequence, dict], Sequence[tuple]]


_OPERATORS = {
    "fgfa_proposal_target": _Operator(
        ("rois", "gt_boxes"),
        ("rois_output", "label", "bbox_target", "bbox_weight"),
        proposal_target_module.proposal_target,
        lambda inputs, options: proposal_target_module.output_shapes(*inputs, **options),
    ),
    "fgfa_ohem": _Operator(
        ("cls_score", "bbox_pred", "labels", "bbox_targets", "bbox_weights"),
        ("labels_ohem", "bbox_weights_ohem"),
        ohem_module.ohem,
        lambda inputs, options: (inputs[2], inputs[4]),
    ),
}


def proposal_target(rois, gt_boxes, *, name: str = "proposal_target", **rules: Any) -> tuple:
    """`lib.ops.proposal_target` as symbols (rois, label, bbox_target, bbox_weight)."""
    return _call("fgfa_proposal_target", rois, gt_boxes, options=json.dumps(rules), name=name)


def ohem(
    cls_score, bbox_pred, labels, bbox_targets, bbox_weights, *, rois_per_image: int = 128, name: str = "ohem"
) -> tuple:
    """`lib.ops.ohem` as symbols (labels_ohem (R,), bbox_weights_ohem (R, 4 * box classes))."""
    inputs = (cls_score, bbox_pred, labels, bbox_targets, bbox_weights)
    return _call("fgfa_ohem", *inputs, rois_per_image=int(rois_per_image), name=name)


def _call(op: str, *inputs: Any, **attributes: Any) -> tuple:
    register()
    return tuple(mx.sym.Custom(*inputs, op_type=op, **attributes))


@functools.cache
def register() -> None:
    """Registers the operators with MXNet, which is required before symbols with one of them are loaded from JSON."""

    class Adapter(mx.operator.CustomOp):
        def __init__(self, operator: _Operator, options: dict) -> None:
            super().__init__()
            self._operator, self._options = operator, options

        def forward(self, is_train, req, in_data, out_data, aux) -> None:
            results = self._operator.compute(*(array.asnumpy() for array in in_data), **self._options)
            for index, value in enumerate(results):
                self.assign(out_data[index], req[index], mx.nd.array(value, ctx=out_data[index].context))

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux) -> None:
            for index, gradient in enumerate(in_grad):
                self.assign(gradient, req[index], 0)

    class Properties(mx.operator.CustomOpProp):
        operator: _Operator

        def __init__(self, **attributes: str) -> None:
            super().__init__(need_top_grad=False)
            values = {name: json.loads(text) for name, text in attributes.items()}
            self._options = values.get("options", values)

        def list_arguments(self) -> list[str]:
            return list(self.operator.inputs)

        def list_outputs(self) -> list[str]:
            return list(self.operator.outputs)

        def infer_shape(self, in_shape):
            return in_shape, list(self.operator.shapes(in_shape, self._options)), []

        def declare_backward_dependency(self, out_grad, in_data, out_data) -> list:
            return []

        def create_operator(self, ctx, shapes, dtypes) -> Adapter:
            return Adapter(self.operator, self._options)

    for name, operator in _OPERATORS.items():
        mx.operator.register(name)(type(name, (Properties,), {"operator": operator}))
