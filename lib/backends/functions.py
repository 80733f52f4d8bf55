"""`F`: the operators that networks are written in. Each backend has its own implementation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Functions(Protocol):
    """`F`: the operators that networks consist of. Arrays are NCHW; arguments are those of MXNet's operators.

    `name` is the name of an operator and the prefix of its parameters: `conv1` has `conv1_weight` and `conv1_bias`.
    Arrays also support `+`, `-`, `*` and `/` with each other and with numbers.
    """

    fused: bool  # whether `aggregate` exists; otherwise `lib.nets.aggregation` composes it from other operators

    def Variable(self, name: str) -> Any:
        """An input of the network, or a parameter that no operator creates."""

    def Convolution(
        self,
        data: Any,
        *,
        name: str,
        num_filter: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = ...,
        dilate: tuple[int, int] = ...,
        pad: tuple[int, int] = ...,
        no_bias: bool = ...,
    ) -> Any: ...

    def Deconvolution(
        self,
        data: Any,
        *,
        name: str,
        num_filter: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        no_bias: bool,
    ) -> Any:
        """Transposed convolution without padding."""

    def FullyConnected(self, data: Any, *, name: str, num_hidden: int) -> Any: ...

    def BatchNorm(
        self, data: Any, *, name: str, use_global_stats: bool, fix_gamma: bool, eps: float, momentum: float
    ) -> Any: ...

    def Activation(self, data: Any, *, act_type: str, name: str | None = ...) -> Any: ...

    def LeakyReLU(self, data: Any, *, act_type: str, slope: float) -> Any: ...

    def Pooling(
        self,
        data: Any,
        *,
        kernel: tuple[int, int],
        pool_type: str,
        stride: tuple[int, int] = ...,
        pad: tuple[int, int] = ...,
        pooling_convention: str = ...,
        global_pool: bool = ...,
        name: str = ...,
    ) -> Any:
        """`pooling_convention="full"` rounds sizes up; windows at the border then average only existing cells."""

    def Crop(self, data: Any, like: Any, *, offset: tuple[int, int]) -> Any:
        """`data` from `offset` (row, column), cut to the height and width of `like`."""

    def Flatten(self, data: Any) -> Any: ...

    def depth_to_space(self, data: Any, *, block_size: int) -> Any: ...

    def concat(self, *data: Any, dim: int) -> Any: ...

    def slice_axis(self, data: Any, axis: int, begin: int, end: int | None) -> Any: ...

    def reshape(self, data: Any, shape: tuple[int, ...], *, name: str = ...) -> Any:
        """MXNet's shape codes: 0 keeps a size, -1 infers it, -4 splits a dimension into the two sizes that follow."""

    def transpose(self, data: Any, *, axes: tuple[int, ...]) -> Any: ...

    def repeat(self, data: Any, *, repeats: int, axis: int) -> Any: ...

    def take(self, data: Any, indices: Any) -> Any: ...

    def full(self, *, shape: tuple[int, ...], val: float) -> Any: ...

    def zeros_like(self, data: Any) -> Any: ...

    def identity(self, data: Any, *, name: str) -> Any: ...

    def BlockGrad(self, data: Any, *, name: str = ...) -> Any: ...

    def sum(self, data: Any, *, axis: int, keepdims: bool, name: str | None = ...) -> Any: ...

    def mean(self, data: Any) -> Any: ...

    def sqrt(self, data: Any) -> Any: ...

    def square(self, data: Any) -> Any: ...

    def broadcast_mul(self, a: Any, b: Any) -> Any: ...

    def softmax(self, data: Any, *, axis: int) -> Any: ...

    def smooth_l1(self, data: Any, *, scalar: float) -> Any: ...

    def L2Normalization(self, data: Any, *, mode: str, eps: float) -> Any:
        """`mode="channel"`: x / sqrt(sum of x^2 over channels + eps)."""

    def SoftmaxOutput(
        self,
        data: Any,
        label: Any,
        *,
        name: str,
        normalization: str,
        multi_output: bool = ...,
        use_ignore: bool = ...,
        ignore_label: int = ...,
    ) -> Any:
        """Softmax whose gradient is that of the cross-entropy with `label`."""

    def MakeLoss(self, data: Any, *, name: str, grad_scale: float = ...) -> Any:
        """Returns `data`. Its gradient is `grad_scale`, regardless of what follows."""

    def warp(self, data: Any, flow: Any) -> Any:
        """Samples a map along a flow: out(y, x) = data(y + flow_y, x + flow_x), bilinear, zero outside the map.

        data (B, C, H, W); flow (B, 2, H, W) in cells, channel 0 is x -> (B, C, H, W). Gradients to both.
        FGFA paper, section 3.1, equation 1.
        """

    def aggregate(
        self,
        ring: Any,
        flow: Any,
        order: Any,
        *,
        feature_channels: int,
        current: int,
        name: str | None = None,
        with_weights: bool = False,
    ) -> Any:
        """Flow-guided aggregation of a window of frames for its current frame, in one operator; no gradient (zeros).

        ring (S, H, W, C + E): S frames in any order, channels last: first the C = `feature_channels` of the features,
        then the E of the embedding. flow (F, 2, H, W) in cells, from the current frame to the frame at each position of
        the window; order (F,): the slot of the frame at each position, where a slot may repeat, or -1 to leave out the
        position, with weight 0; current: the position of the current frame. -> a sequence: aggregated (1, C, H, W) and,
        if `with_weights`, weights (F, 1, H, W), which sum to 1 over the frames. FGFA paper, section 3.1, equations 2
        and 3 (all frames are warped, including the current one).
        """

    def multi_proposal(
        self,
        cls_prob: Any,
        bbox_pred: Any,
        im_info: Any,
        *,
        feature_stride: int,
        scales: Sequence[float],
        ratios: Sequence[float],
        pre_nms_top_n: int,
        post_nms_top_n: int,
        nms_threshold: float,
        min_size: float,
        name: str | None = None,
    ) -> Any:
        """Region proposals of a batch of images; no gradient (zeros).

        cls_prob (B, 2A, h, w), object scores in the second half; bbox_pred (B, 4A, h, w) deltas, already multiplied by
        their standard deviations; im_info (B, 3) height, width, scale; A = len(scales) * len(ratios)
        -> rois (B * post, 5): image of the batch, x1 y1 x2 y2, inclusive pixels.
        Boxes narrower or lower than min_size * scale and anchors in the padding of the batch get score -1, but stay in
        the list. `pre_nms_top_n` 0 keeps all. If fewer than `post_nms_top_n` survive, they are repeated from the first.
        """

    def psroi_mean(
        self,
        data: Any,
        rois: Any,
        *,
        output_dim: int,
        group_size: int,
        spatial_scale: float,
        name: str | None = None,
    ) -> Any:
        """Position-sensitive pooling of regions, averaged over the group_size ^ 2 bins; gradient to `data` only.

        data (B, group_size ^ 2 * output_dim, h, w), channel (c * group_size + row) * group_size + column;
        rois (R, 5) image of the batch, x1 y1 x2 y2, inclusive pixels -> (R, output_dim).
        R-FCN paper, section 3, equation 1, with average voting.
        """

    def proposal_target(
        self,
        rois: Any,
        gt_boxes: Any,
        *,
        num_reg_classes: int,
        batch_rois: int,
        fg_fraction: float,
        fg_thresh: float,
        bg_thresh_hi: float,
        bg_thresh_lo: float,
        regression_thresh: float,
        bbox_means: Sequence[float],
        bbox_stds: Sequence[float],
        bbox_weights: Sequence[float],
        name: str,
    ) -> Sequence[Any]:
        """`lib.ops.proposal_target`: (rois, label, bbox_target, bbox_weight) of one image; no gradient."""

    def ohem(
        self,
        cls_score: Any,
        bbox_pred: Any,
        label: Any,
        bbox_target: Any,
        bbox_weight: Any,
        *,
        rois_per_image: int,
        name: str,
    ) -> Sequence[Any]:
        """`lib.ops.ohem`: (label, bbox_weight), kept for the hardest rois only; no gradient."""
