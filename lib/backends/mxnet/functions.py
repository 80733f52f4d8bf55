"""`F` over MXNet: its own operators, and those of this project in one of two versions.

`Compiled` has the operators of `lib/ops/src`; `Builtin`, for comparison, composes them from MXNet's own and is slower.
Both work on symbols or, given `mx.nd`, on NDArrays.

The shapes of all inputs must be known when a symbol with a compiled operator is bound: MXNet 1.9.1 corrupts memory if
a library's operator has to infer an unknown shape. All arrays of compiled operators are float32. Their gradients
always overwrite: `grad_req="add"` does not reach these operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lib.backends.mxnet import custom, library
from lib.backends.mxnet.loader import mx


class Operators:
    """MXNet's operators under their own names, and the training operators that are written in Python."""

    fused = False
    ohem = staticmethod(custom.ohem)
    proposal_target = staticmethod(custom.proposal_target)

    def __init__(self, namespace: Any = None):
        self._namespace = namespace  # None: mx.sym; MXNet is imported on first use

    def __getattr__(self, name: str) -> Any:
        return getattr(mx.sym if self._namespace is None else self._namespace, name)


class Compiled(Operators):
    """The compiled operators; see `lib.backends.functions.Functions` for what they compute."""

    fused = True

    def warp(self, data, flow, name: str | None = None):
        return self._call("fgfa_warp", data, flow, name=name)

    def aggregate(self, ring, flow, order, *, with_weights: bool = False, **options: Any):
        return self._call("fgfa_aggregate", ring, flow, order, with_weights=with_weights, **options)

    def multi_proposal(self, cls_prob, bbox_pred, im_info, *, with_scores: bool = False, **options: Any):
        """`with_scores` adds the scores (B * post, 1)."""
        return self._call("fgfa_multi_proposal", cls_prob, bbox_pred, im_info, with_scores=with_scores, **options)

    def psroi_mean(self, data, rois, **options: Any):
        return self._call("fgfa_psroi_mean", data, rois, **options)

    def _call(self, op: str, *inputs: Any, name: str | None = None, **attributes: object):
        library.load()
        names = {} if name is None else {"name": name}
        return getattr(self, op)(*inputs, **names, **{key: _text(value) for key, value in attributes.items()})


class Builtin(Operators):
    """The same operators, composed from MXNet's own."""

    def warp(self, data, flow, name: str | None = None):
        return self.BilinearSampler(data, self.GridGenerator(flow, transform_type="warp"), name=name)

    def multi_proposal(
        self, cls_prob, bbox_pred, im_info, *, pre_nms_top_n, post_nms_top_n, nms_threshold, min_size, **options: Any
    ):
        return self.contrib.MultiProposal(
            cls_prob,
            bbox_pred,
            im_info,
            rpn_pre_nms_top_n=pre_nms_top_n,
            rpn_post_nms_top_n=post_nms_top_n,
            threshold=nms_threshold,
            rpn_min_size=int(min_size),
            **{key: tuple(value) if key in ("scales", "ratios") else value for key, value in options.items()},
        )

    def psroi_mean(self, data, rois, *, group_size: int, name: str | None = None, **options: Any):
        pooled = self.contrib.PSROIPooling(data, rois, pooled_size=group_size, group_size=group_size, **options)
        mean = self.mean(pooled, axis=(2, 3))
        return self.identity(mean, name=name) if name else mean


OPERATORS: dict[str, type[Operators]] = {"compiled": Compiled, "builtin": Builtin}


def _text(value: object) -> str:
    """An attribute in the form that MXNet passes to a library's operator."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "(" + ", ".join(repr(float(v)) for v in value) + ")"
    return str(int(value)) if isinstance(value, bool) else repr(value)
