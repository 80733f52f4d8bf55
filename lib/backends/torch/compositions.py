"""The operators of `lib/ops/src` composed from PyTorch's own, for GPUs on which the CUDA kernels cannot be used.

They give what the kernels give, the order of equal scores and the gradients at whole cells included, and never wait for
the GPU. They are slower and need more memory.
"""

from __future__ import annotations

import ctypes
import functools

from lib.backends.torch.cpu import anchors
from lib.backends.torch.loader import Tensor, torch
from lib.backends.torch.structures import ProposalRules

_EPSILON = 1e-10  # of the norms of embeddings


class Compositions:
    """A `lib.backends.torch.kernels.Operators`. Regions and slots that do not exist give zeros, as in `lib/ops/src`."""

    def warp(self, data: Tensor, flow: Tensor) -> Tensor:
        _, channels, height, width = data.shape
        maps, out = data.flatten(2), torch.zeros_like(data).flatten(2)
        for cell, weight in _taps(flow, height, width):
            index = cell.flatten(1)[:, None].expand(-1, channels, -1)
            out = out + maps.gather(2, index) * weight.flatten(1)[:, None]
        return out.reshape(data.shape)

    def warp_backward(self, gradient: Tensor, data: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            inputs = [data.detach().requires_grad_(), flow.detach().requires_grad_()]
            to_data, to_flow = torch.autograd.grad(self.warp(*inputs), inputs, gradient)
        return to_data, to_flow

    def psroi_mean(self, shape: ctypes.Structure, data: Tensor, rois: Tensor) -> Tensor:
        """By an integral image, of which the sum of a bin needs four cells. In float64, as its sums grow large."""
        group, outputs = shape.group, shape.outputs
        maps = data.reshape(shape.batch, outputs, group, group, shape.height, shape.width).double()
        integral = torch.nn.functional.pad(maps.cumsum(4).cumsum(5), (1, 0, 1, 0))
        image = rois[:, 0]
        good = (image >= 0) & (image < shape.batch) & (image == image.floor())
        image = torch.where(good, image, 0).long()
        spans = (_spans(rois[:, k], rois[:, k + 2], shape, size) for k, size in ((2, shape.height), (1, shape.width)))
        (top, bottom), (left, right) = spans
        bins = torch.arange(group, device=data.device)

        def at(rows: Tensor, columns: Tensor) -> Tensor:
            """(regions, group, group, outputs)"""
            place = (bins[:, None], bins, rows[:, :, None], columns[:, None])
            return integral[(image[:, None, None], slice(None), *place)]

        total = at(bottom, right) - at(top, right) - at(bottom, left) + at(top, left)
        rows, columns = (bottom - top).clamp(min=0), (right - left).clamp(min=0)
        area = (rows[:, :, None] * columns[:, None])[..., None]
        mean = torch.where(area > 0, total / area.clamp(min=1), 0).mean((1, 2))
        return torch.where(good[:, None], mean, 0).to(data.dtype)

    def psroi_mean_backward(self, shape: ctypes.Structure, gradient: Tensor, rois: Tensor) -> Tensor:
        with torch.enable_grad():
            size = (shape.batch, shape.outputs * shape.group**2, shape.height, shape.width)
            data = gradient.new_zeros(size).requires_grad_()
            (to_data,) = torch.autograd.grad(self.psroi_mean(shape, data, rois), data, gradient)
        return to_data

    def aggregate(self, shape: ctypes.Structure, ring: Tensor, flow: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """Frame by frame, as a warped window takes much memory."""
        cells, channels = shape.height * shape.width, shape.channels
        rows = ring.reshape(shape.slots * cells, -1)

        def warped(frame: int) -> Tensor:
            """(cells, channels + embedding)"""
            slot, total = order[frame], torch.zeros((), device=flow.device)
            good = (slot >= 0) & (slot < shape.slots) & (slot == slot.floor())
            start = torch.where(good, slot, 0).long() * cells
            for cell, weight in _taps(flow[frame : frame + 1], shape.height, shape.width):
                taken = rows.index_select(0, start + cell.flatten()).float()
                total = total + taken * torch.where(good, weight, 0).reshape(-1, 1)
            return total

        def norm(embedding: Tensor) -> Tensor:
            return ((embedding * embedding).sum(1) + _EPSILON).sqrt()

        reference = warped(shape.current)[:, channels:]
        aggregated = flow.new_zeros((cells, channels))
        shares = []
        for frame in range(shape.frames):
            found = warped(frame)
            embedding = found[:, channels:]
            share = torch.exp((embedding * reference).sum(1) / (norm(embedding) * norm(reference)))
            shares.append(torch.where(order[frame] == -1, 0, share))  # -1: left out
            aggregated += shares[-1][:, None] * found[:, :channels]
        weights = torch.stack(shares)
        total = weights.sum(0)
        aggregated = (aggregated / total[:, None]).T.reshape(1, channels, shape.height, shape.width)
        return aggregated, (weights / total).reshape(shape.frames, 1, shape.height, shape.width)

    def multi_proposal(self, rules: ProposalRules, cls_prob: Tensor, bbox_pred: Tensor, im_info: Tensor) -> Tensor:
        boxes, scores = _candidates(rules, cls_prob, bbox_pred, im_info)
        batch, count, _ = boxes.shape
        candidates = rules.candidates(count)
        order = torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :candidates]
        best = boxes.gather(1, order[:, :, None].expand(-1, -1, 4))
        area = (best[..., 2] - best[..., 0] + 1) * (best[..., 3] - best[..., 1] + 1)

        # In each round, the best box that is left survives. Once none is left, a round finds `candidates`.
        place = torch.arange(candidates, device=boxes.device).expand(batch, -1)
        left = torch.ones_like(place, dtype=torch.bool)
        rounds = []
        for _ in range(rules.post_nms):
            first = torch.where(left, place, candidates).amin(1, keepdim=True)
            rounds.append(first)
            here = first.clamp(max=candidates - 1)
            kept = best.gather(1, here[:, :, None].expand(-1, -1, 4))
            sides = torch.fmin(kept[..., 2:], best[..., 2:]) - torch.fmax(kept[..., :2], best[..., :2]) + 1
            common = torch.fmax(sides, sides.new_zeros(())).prod(2)
            overlap = common / (area.gather(1, here) + area - common)
            left = left & (place != first) & ~(overlap > rules.nms_threshold)
        survivors = torch.cat(rounds, 1)
        found = (survivors < candidates).sum(1, keepdim=True)
        repeated = torch.arange(rules.post_nms, device=boxes.device) % found
        index = survivors.gather(1, repeated)
        chosen = best.gather(1, index[:, :, None].expand(-1, -1, 4))
        image = torch.arange(batch, device=boxes.device, dtype=boxes.dtype)[:, None, None]
        return torch.cat([image.expand(-1, rules.post_nms, 1), chosen], 2).reshape(-1, 5)


def _taps(flow: Tensor, height: int, width: int) -> list[tuple[Tensor, Tensor]]:
    """Cells and weights, each (B, H, W), of the four taps of every cell; see `lib/ops/src/bilinear.h`."""
    y, x = (torch.arange(size, device=flow.device, dtype=flow.dtype) for size in (height, width))
    y, x = y[:, None] + flow[:, 1], x + flow[:, 0]
    near = (x >= -1) & (y >= -1) & (x < width) & (y < height)  # false for NaN
    y, x = torch.where(near, y, 0), torch.where(near, x, 0)
    top, left = y.detach().floor(), x.detach().floor()
    dy, dx = y - top, x - left
    taps = []
    for row, along_y in ((top, 1 - dy), (top + 1, dy)):
        for column, along_x in ((left, 1 - dx), (left + 1, dx)):
            inside = near & (row >= 0) & (row < height) & (column >= 0) & (column < width)
            cell = torch.where(inside, row * width + column, 0).long()
            taps.append((cell, torch.where(inside, along_y * along_x, 0)))
    return taps


def _spans(low: Tensor, high: Tensor, shape: ctypes.Structure, size: int) -> tuple[Tensor, Tensor]:
    """First cells and ends (R, group) of the bins along one axis; see `lib/ops/src/psroi_bins.h`."""
    start, end = _rounded(low) * shape.spatial_scale, (_rounded(high) + 1) * shape.spatial_scale
    step = (torch.fmax(end - start, end.new_full((), 0.1)) / shape.group)[:, None]
    number = torch.arange(shape.group, device=low.device, dtype=low.dtype)
    edges = (number * step + start[:, None]).floor(), ((number + 1) * step + start[:, None]).ceil()
    first, last = (edge.nan_to_num(nan=0.0).clamp(0, size).long() for edge in edges)
    return first, last


def _rounded(value: Tensor) -> Tensor:
    """To whole numbers, halves away from zero; `torch.round` takes them to the even one."""
    whole = value.trunc()
    return whole + torch.where((value - whole).abs() >= 0.5, value.sign(), 0)


def _candidates(rules: ProposalRules, cls_prob: Tensor, bbox_pred: Tensor, im_info: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (B, N, 4) and scores (B, N), in the order of rows, columns and anchors; see `lib/ops/src/proposal.h`."""
    batch, _, height, width = cls_prob.shape
    rows, columns = (torch.arange(n, device=cls_prob.device, dtype=torch.float32) for n in (height, width))
    base = _anchor_boxes(rules, cls_prob.device)  # (A, 4)
    sides = base[:, 2:] - base[:, :2] + 1
    shift = torch.stack(torch.broadcast_tensors(columns, rows[:, None]), 2)[:, :, None] * rules.stride
    centre = base[:, :2] + shift + 0.5 * (sides - 1)  # (h, w, A, 2)
    deltas = bbox_pred.reshape(batch, rules.anchors, 4, height, width).permute(0, 3, 4, 1, 2)
    middle = deltas[..., :2] * sides + centre
    half = 0.5 * (torch.exp(deltas[..., 2:]) * sides - 1)
    info = im_info[:, None, None, None]
    most = info[..., [1, 0]] - 1
    zero = most.new_zeros(())
    low, high = (torch.fmin(torch.fmax(corner, zero), most) for corner in (middle - half, middle + half))
    inside = (rows[:, None] < (im_info[:, 0] / rules.stride).floor()[:, None, None]) & (
        columns < (im_info[:, 1] / rules.stride).floor()[:, None, None]
    )
    small = (high - low + 1 < rules.min_size * info[..., 2:]).any(4)
    scores = cls_prob[:, rules.anchors :].permute(0, 2, 3, 1)
    scores = torch.where(scores == scores, scores, float("-inf"))
    scores = torch.where(inside[..., None] & ~small, scores, -1.0)
    return torch.cat([low, high], 4).reshape(batch, -1, 4), scores.reshape(batch, -1)


@functools.cache
def _anchor_boxes(rules: ProposalRules, device: torch.device) -> Tensor:
    """Copied to the device once, as a CUDA graph cannot read the host's memory."""
    return torch.tensor(anchors(rules), device=device).reshape(-1, 4)
