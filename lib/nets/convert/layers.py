"""Shared by all conversions: the result type, and folding an affine operation into the adjacent layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Converted(NamedTuple):
    """Parameters by our names, and the source names that our networks do not use."""

    args: dict[str, np.ndarray]
    auxs: dict[str, np.ndarray]
    unused: list[str]


def fold_input(weight: np.ndarray, scale: Sequence[float], offset: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(weight, bias) of the convolution on x that equals convolving scale * x + offset with `weight`.

    weight: (out, 3 * images, kh, kw), three channels per image. Exact except where the kernel reaches over the border:
    zero padding is the mean colour of the source there, and x = 0 here.
    """
    images = weight.shape[1] // 3
    wide = np.float64(weight)
    bias = (wide * np.tile(offset, images)[:, None, None]).sum(axis=(1, 2, 3))
    return np.float32(wide * np.tile(scale, images)[:, None, None]), np.float32(bias)


def swap_colours(weight: np.ndarray) -> np.ndarray:
    """Swaps BGR and RGB in the input of a convolution (out, 3 * images, kh, kw)."""
    out, channels, *kernel = weight.shape
    return np.ascontiguousarray(weight.reshape(out, channels // 3, 3, *kernel)[:, :, ::-1].reshape(weight.shape))


def fold_batch_norm(
    weight: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """(weight, bias) of the convolution that equals a convolution followed by BatchNorm with moving statistics."""
    factor = np.float64(gamma) / np.sqrt(np.float64(variance) + eps)
    return np.float32(weight * factor[:, None, None, None]), np.float32(beta - mean * factor)


def for_eps(gamma: np.ndarray, variance: np.ndarray, source: float, ours: float) -> np.ndarray:
    """The gamma that gives the same output with BatchNorm epsilon `ours` as `gamma` gives with `source`."""
    return np.float32(gamma * np.sqrt((np.float64(variance) + ours) / (np.float64(variance) + source)))
