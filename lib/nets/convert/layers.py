"""Shared by all conversions: the result type, and folding an affine operation into the adjacent layer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Converted(NamedTuple):
    """Parameters by our names, and the source names that our networks do not use."""

    args: dict[str, np.ndarray]
    auxs: dict[str, np.ndarray]
    unused: list[str]


def fold_input(weight: np.ndarray, scale: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(weight, bias) of the convolution on x that equals convolving scale * x + offset with `weight`.

    weight: (out, 3 * images, kh, kw), three channels per image. Exact except where the kernel reaches over the border:
    zero padding is the mean colour of the source there, and x = 0 here.
    """
    images = weight.shape[1] // 3
    wide = weight.astype(np.float64)
    bias = (wide * np.tile(offset, images)[:, None, None]).sum(axis=(1, 2, 3))
    return (wide * np.tile(scale, images)[:, None, None]).astype(np.float32), bias.astype(np.float32)


def swap_colours(weight: np.ndarray) -> np.ndarray:
    """Swaps BGR and RGB in the input of a convolution (out, 3 * images, kh, kw)."""
    out, channels, *kernel = weight.shape
    return np.ascontiguousarray(weight.reshape(out, channels // 3, 3, *kernel)[:, :, ::-1].reshape(weight.shape))


def fold_batch_norm(
    weight: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """(weight, bias) of the convolution that equals a convolution followed by BatchNorm with moving statistics."""
    factor = gamma / np.sqrt(variance.astype(np.float64) + eps)
    return (weight * factor[:, None, None, None]).astype(np.float32), (beta - mean * factor).astype(np.float32)


def for_eps(gamma: np.ndarray, variance: np.ndarray, source: float, ours: float) -> np.ndarray:
    """The gamma that gives the same output with BatchNorm epsilon `ours` as `gamma` gives with `source`."""
    wide = variance.astype(np.float64)
    return (gamma * np.sqrt((wide + ours) / (wide + source))).astype(np.float32)
