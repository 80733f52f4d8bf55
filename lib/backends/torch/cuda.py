"""The kernels of `lib/ops/src/*.cuh` on CUDA tensors. Nothing here waits for the GPU or copies to the host.

The grids and blocks are those of the launchers in `lib/ops/src/*.cu`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

from lib.backends.torch.cpu import anchors
from lib.backends.torch.loader import Tensor, torch
from lib.backends.torch.structures import ProposalRules, WarpShape
from lib.errors import InputError

_THREADS = 256
_WARP = 32
_CHANNELS = 16  # of the warp kernels: channels of a thread
_CELLS = 32  # of the gradient of the flow: cells of a block
_BITS = 64  # of NMS: candidates in a word of the mask
_ANCHORS = 64  # of the proposals: the most anchors of a cell
_WORDS = 5 * 1024  # of NMS: the most words, which share 40 KiB
_MOST = 65535  # blocks in the second and third dimension
_Anchors = ctypes.c_float * (4 * _ANCHORS)


class Launch(Protocol):
    """Queues a kernel. arguments: tensors and None, of which the kernel receives the address, and ctypes' values."""

    shared_limit: int  # bytes of dynamic shared memory that a block of the aggregation may use

    def __call__(self, name: str, grid: Sequence[int], block: Sequence[int], shared: int, *arguments: Any) -> None: ...


class CudaOperators:
    """A `lib.backends.torch.kernels.Operators`. Regions and slots that do not exist give zeros, as in `lib/ops/src`."""

    def __init__(self, launch: Launch):
        self._launch = launch

    def warp(self, data: Tensor, flow: Tensor) -> Tensor:
        out = torch.empty_like(data)
        if data.numel():
            self._launch("fgfa_warp_forward", _warp_grid(data), (_THREADS,), 0, WarpShape(*data.shape), data, flow, out)
        return out

    def warp_backward(self, gradient: Tensor, data: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        to_data, to_flow = torch.zeros_like(data), torch.empty_like(flow)
        if not data.numel():
            return to_data, to_flow.zero_()
        batch, _, height, width = data.shape
        shape, sums = WarpShape(*data.shape), (_CELLS, _THREADS // _CELLS)
        self._launch("fgfa_warp_backward_data", _warp_grid(data), (_THREADS,), 0, shape, gradient, flow, to_data)
        grid = (_blocks(height * width, _CELLS), 1, min(batch, _MOST))
        self._launch("fgfa_warp_backward_flow", grid, sums, 0, shape, gradient, data, flow, to_flow)
        return to_data, to_flow

    def psroi_mean(self, shape: ctypes.Structure, data: Tensor, rois: Tensor) -> Tensor:
        out = data.new_empty((shape.regions, shape.outputs))
        if out.numel():
            grid = (_blocks(out.numel() * _WARP),)
            self._launch("fgfa_psroi_mean_forward", grid, (_THREADS,), 0, shape, data, rois, out)
        return out

    def psroi_mean_backward(self, shape: ctypes.Structure, gradient: Tensor, rois: Tensor) -> Tensor:
        to_data = gradient.new_empty((shape.batch, shape.outputs * shape.group**2, shape.height, shape.width))
        if to_data.numel():
            planes = (shape.batch * shape.outputs * shape.group**2,)
            self._launch("fgfa_psroi_mean_backward", planes, (_THREADS,), 0, shape, gradient, rois, to_data)
        return to_data

    def aggregate(self, shape: ctypes.Structure, ring: Tensor, flow: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        aggregated = flow.new_empty((1, shape.channels, shape.height, shape.width))
        weights = flow.new_empty((shape.frames, 1, shape.height, shape.width))
        depth = (shape.channels + shape.embedding) * aggregated.element_size()
        if depth > self._launch.shared_limit:
            raise InputError(
                f"network.FEAT_DIM, network.EMBED_DIMS: {shape.channels} and {shape.embedding} channels need {depth} "
                f"bytes of shared memory, but this GPU has {self._launch.shared_limit}; use fewer channels or the CPU"
            )
        side = 2 if 4 * depth <= self._launch.shared_limit else 1
        at_once = 1 if shape.channels % 4 or shape.embedding % 4 else 4
        kind = "bfloat16" if ring.dtype == torch.bfloat16 else "float32"
        self._launch(
            f"fgfa_aggregate_{kind}_{at_once}_{side}",
            (_blocks(shape.width, side), _blocks(shape.height, side)),
            (_THREADS,),
            side**2 * depth,
            shape,
            *(ring, flow, order, aggregated, weights),
        )
        return aggregated, weights

    def multi_proposal(self, rules: ProposalRules, cls_prob: Tensor, bbox_pred: Tensor, im_info: Tensor) -> Tensor:
        batch, _, height, width = cls_prob.shape
        count = rules.anchors * height * width
        candidates = rules.candidates(count)
        words = _blocks(candidates, _BITS)
        if rules.anchors > _ANCHORS or words > _WORDS:
            raise InputError(
                f"network.ANCHOR_SCALES, ANCHOR_RATIOS: {rules.anchors} anchors a cell, {candidates} boxes before NMS; "
                f"the CUDA kernels take {_ANCHORS} and {_WORDS * _BITS}; use fewer, or a lower RPN_PRE_NMS_TOP_N"
            )
        corners = _Anchors(*anchors(rules))
        sizes = (ctypes.c_int(rules.anchors), ctypes.c_int(height), ctypes.c_int(width))
        limits = (ctypes.c_float(rules.stride), ctypes.c_float(rules.min_size))
        boxes, scores = cls_prob.new_empty((batch, count, 4)), cls_prob.new_empty((batch, count))
        for image in range(batch):
            inputs = (cls_prob[image], bbox_pred[image], im_info[image], boxes[image], scores[image])
            grid = (_blocks(count),)
            self._launch("fgfa_proposal_decode", grid, (_THREADS,), 0, corners, *sizes, *limits, *inputs, None)
        # A stable sort: candidates with equal scores keep the order of their anchors.
        scores, order = torch.sort(scores, dim=1, descending=True, stable=True)
        best = boxes.gather(1, order[:, :candidates, None].expand(-1, -1, 4)).contiguous()

        mask = torch.empty((candidates, words), dtype=torch.int64, device=cls_prob.device)
        survivors = torch.empty(rules.post_nms, dtype=torch.int32, device=cls_prob.device)
        rois = cls_prob.new_empty((batch * rules.post_nms, 5))
        long = ctypes.c_int64
        for image in range(batch):
            compared = (best[image], long(candidates), long(words), ctypes.c_float(rules.nms_threshold), mask)
            self._launch("fgfa_proposal_compare", (words, words), (_BITS,), 0, *compared)
            of_image = rois[image * rules.post_nms :]
            self._launch(
                "fgfa_proposal_suppress",
                (1,),
                (_THREADS,),
                words * mask.element_size(),
                *(mask, long(candidates), long(words), long(rules.post_nms), ctypes.c_float(image)),
                *(best[image], scores[image], survivors, of_image, None),
            )
        return rois


def _blocks(count: int, size: int = _THREADS) -> int:
    return -(-count // size)


def _warp_grid(data: Tensor) -> tuple[int, int, int]:
    batch, channels, height, width = data.shape
    return _blocks(height * width), min(_blocks(channels, _CHANNELS), _MOST), min(batch, _MOST)
