"""Readable references of the compiled operators in numpy, for tests and for `bench.cuda_operators`.

They compute in float64, except where the operators are defined in float32 (edges of pooling bins, boxes).
"""

from __future__ import annotations

import ctypes

import numpy as np


def sample(data: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """data (C, H, W) at positions y, x (any shape S) -> (C, *S); zero for each tap outside the map."""
    channels, height, width = data.shape
    y0, x0 = np.floor(y), np.floor(x)
    out = np.zeros((channels, *np.shape(y)))
    for row, row_weight in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
        for column, column_weight in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            r, c = np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)
            out += np.where(inside, data[:, r, c] * row_weight * column_weight, 0)
    return out


def warp(data: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """data (B, C, H, W), flow (B, 2, H, W) -> (B, C, H, W)."""
    y, x = np.mgrid[: data.shape[2], : data.shape[3]].astype(np.float64)
    return np.stack([sample(d.astype(np.float64), y + f[1], x + f[0]) for d, f in zip(data, flow)])


def aggregate(ring, flow, order, channels: int, current: int) -> tuple[np.ndarray, np.ndarray]:
    """ring (S, H, W, C + E), flow (F, 2, H, W), order (F,) -> aggregated (1, C, H, W), weights (F, 1, H, W)."""
    warped = warp(ring[np.asarray(order, int)].transpose(0, 3, 1, 2), flow)
    features, embeddings = warped[:, :channels], warped[:, channels:]
    embeddings = embeddings / np.sqrt((embeddings**2).sum(axis=1, keepdims=True) + 1e-10)
    cosine = (embeddings * embeddings[current]).sum(axis=1, keepdims=True)
    weights = np.exp(cosine) / np.exp(cosine).sum(axis=0)
    return (weights * features).sum(axis=0, keepdims=True), weights


def anchors(scales, ratios, stride: float = 16) -> np.ndarray:
    """(len(ratios) * len(scales), 4), ratios outermost, centred on the window 0, 0, stride - 1, stride - 1."""
    rows, centre = [], (stride - 1) / 2
    for ratio in ratios:
        width = np.round(np.sqrt(stride * stride / ratio))
        height = np.round(width * ratio)
        for scale in scales:
            half = np.array([width, height]) * scale / 2 - 0.5
            rows.append([centre - half[0], centre - half[1], centre + half[0], centre + half[1]])
    return np.array(rows)


def iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """box (4,), boxes (N, 4), inclusive pixels -> (N,)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]) + 1
    common = np.maximum(sides, 0).prod(axis=1)
    area = (box[2:] - box[:2] + 1).prod()
    return common / (area + (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1) - common)


def proposals_of_image(prob, deltas, info, stride, scales, ratios, pre, post, threshold, min_size):
    """prob (2A, h, w), deltas (4A, h, w), info (3,) -> boxes (post, 4), scores (post,)."""
    base = anchors(scales, ratios, stride)
    count, (height, width) = len(base), prob.shape[1:]
    scores = prob[count:].transpose(1, 2, 0).astype(np.float64)
    moves = deltas.reshape(count, 4, height, width).transpose(2, 3, 0, 1).astype(np.float64)
    rows, columns = np.mgrid[:height, :width]
    shifts = np.stack([columns, rows, columns, rows], axis=-1)[:, :, None] * stride
    boxes = base + shifts
    sides = boxes[..., 2:] - boxes[..., :2] + 1
    centres = boxes[..., :2] + (sides - 1) / 2 + moves[..., :2] * sides
    half = (np.exp(moves[..., 2:]) * sides - 1) / 2
    boxes = np.concatenate([centres - half, centres + half], axis=-1)
    boxes = np.clip(boxes, 0, np.array([info[1], info[0], info[1], info[0]]) - 1)
    scores[rows >= info[0] // stride] = -1
    scores[columns >= info[1] // stride] = -1
    scores[(boxes[..., 2:] - boxes[..., :2] + 1 < min_size * info[2]).any(axis=-1)] = -1
    boxes, scores = boxes.reshape(-1, 4), scores.ravel()
    left = list(np.argsort(-scores, kind="stable")[: pre or None])
    kept = []
    while left and len(kept) < post:
        first = left.pop(0)
        kept.append(first)
        if left:
            left = list(np.array(left)[iou(boxes[first], boxes[left]) <= threshold])
    padded = [kept[k % len(kept)] for k in range(post)]
    return boxes[padded], scores[padded]


def bin_edges(low, high, scale: float, group: int, size: int) -> list[tuple[int, int]]:
    """Cells (begin, end) of each bin along one axis of a region from pixel `low` to `high`, float32 throughout."""
    f = np.float32
    away = lambda v: f(np.copysign(np.floor(np.abs(f(v)) + f(0.5)), v))  # noqa: E731
    start, end = away(low) * f(scale), (away(high) + f(1)) * f(scale)
    step = max(end - start, f(0.1)) / f(group)
    edge = lambda k, rounding: int(np.clip(rounding(f(f(k) * step) + start), 0, size))  # noqa: E731
    return [(edge(k, np.floor), edge(k + 1, np.ceil)) for k in range(group)]


def psroi_bins(data, rois, outputs: int, group: int, scale: float) -> np.ndarray:
    """data (B, group^2 * outputs, h, w), rois (R, 5) -> (R, outputs, group, group)."""
    out = np.zeros((len(rois), outputs, group, group))
    for r, (image, x1, y1, x2, y2) in enumerate(rois):
        rows = bin_edges(y1, y2, scale, group, data.shape[2])
        columns = bin_edges(x1, x2, scale, group, data.shape[3])
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                if bottom > top and right > left:
                    planes = data[int(image), i * group + j :: group * group]
                    out[r, :, i, j] = planes[:, top:bottom, left:right].astype(np.float64).mean(axis=(1, 2))
    return out


def psroi_mean(data, rois, outputs: int, group: int, scale: float) -> np.ndarray:
    """(R, outputs)."""
    return psroi_bins(data, rois, outputs, group, scale).mean(axis=(2, 3))


def warp_gradients(data: np.ndarray, flow: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of (warp(data, flow) * above).sum() by data and flow; at cell edges, from the right."""
    height, width = data.shape[2:]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    by_data, by_flow = np.zeros(data.shape), np.zeros(flow.shape)
    for image in range(len(data)):
        to_x, to_y = x + flow[image, 0], y + flow[image, 1]  # float32, as the kernels add
        x0, y0 = np.floor(to_x), np.floor(to_y)
        dx, dy = (to_x - x0).astype(np.float64), (to_y - y0).astype(np.float64)
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            inside = (y0 + i >= 0) & (y0 + i < height) & (x0 + j >= 0) & (x0 + j < width)
            rows, columns = (np.where(inside, v, 0).astype(int) for v in (y0 + i, x0 + j))
            along_x, along_y = (dx if j else 1 - dx), (dy if i else 1 - dy)
            weighted = np.where(inside, above[image] * along_x * along_y, 0)
            for channel in range(data.shape[1]):
                np.add.at(by_data[image, channel], (rows, columns), weighted[channel])
            slope = np.where(inside, data[image][:, rows, columns].astype(np.float64) * above[image], 0).sum(axis=0)
            by_flow[image, 0] += slope * along_y * (1 if j else -1)
            by_flow[image, 1] += slope * along_x * (1 if i else -1)
    return by_data, by_flow


def psroi_gradient(shape: tuple, rois: np.ndarray, above: np.ndarray, group: int, scale: float) -> np.ndarray:
    """Gradient of (psroi_mean(data, rois, ...) * above).sum() by data of `shape`."""
    gradient = np.zeros(shape)
    for (image, x1, y1, x2, y2), shares in zip(rois, above.astype(np.float64) / group**2):
        rows = bin_edges(y1, y2, scale, group, shape[2])
        columns = bin_edges(x1, x2, scale, group, shape[3])
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                if bottom > top and right > left:
                    planes = gradient[int(image), i * group + j :: group * group]
                    planes[:, top:bottom, left:right] += shares[:, None, None] / ((bottom - top) * (right - left))
    return gradient


def structure(fields: tuple) -> tuple[ctypes.Structure, tuple]:
    """A C structure of int64_t (int), float, or pointers (arrays), and the objects that must outlive it."""
    kinds = {int: ctypes.c_int64, float: ctypes.c_float, np.ndarray: ctypes.c_void_p}
    layout = [(f"field{k}", kinds[type(value)]) for k, value in enumerate(fields)]
    made = type("Shape", (ctypes.Structure,), {"_fields_": layout})
    return made(*(v.ctypes.data if isinstance(v, np.ndarray) else v for v in fields)), fields
