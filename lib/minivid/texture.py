"""Textures made of smooth noise: surfaces of objects, and backgrounds."""

from __future__ import annotations

import cv2
import numpy as np


def noise(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 3) -> np.ndarray:
    """Smooth noise (height, width) float32 in 0..1: grids of `cell`, `cell / 2`, ... px, each half as strong."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1.0)
        grid = rng.random((int(height / step) + 2, int(width / step) + 2), dtype=np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def _stripes(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    phase = (x * np.cos(angle) + y * np.sin(angle)) / period
    phase += 0.5 * noise(rng, height, width, 4 * period, 1)
    return (0.5 + 0.5 * np.sin(2 * np.pi * phase)).astype(np.float32)


def _checks(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    angle = rng.uniform(0, np.pi / 2)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return ((np.floor(u / period) + np.floor(v / period)) % 2).astype(np.float32)


def _spots(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    field = noise(rng, height, width, period, 1)
    return cv2.blur((field > np.quantile(field, 0.7)).astype(np.float32), (3, 3))


def pattern(rng: np.random.Generator, height: int, width: int, period: float) -> np.ndarray:
    """A random pattern (height, width) float32 in 0..1: stripes, checks, spots or clouds of about `period` px."""
    kind = rng.integers(4)
    if kind == 3:
        return noise(rng, height, width, 1.5 * period, 3)
    return (_stripes, _checks, _spots)[kind](rng, height, width, period * rng.uniform(0.7, 1.3))


def colour(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> np.ndarray:
    """A random colour, BGR float32 (3,) in 0..255, of any hue; saturation and value are HSV ranges within 0..1."""
    hsv = np.array([[[rng.uniform(0, 360), rng.uniform(*saturation), rng.uniform(*value)]]], np.float32)
    return 255.0 * cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0]


def background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A cluttered backdrop (height, width, 3) uint8 BGR: clouds of two colours, soft patches, a pattern and noise."""
    # The third colour is not used, but drawing two would change every backdrop after it.
    colours = [colour(rng, (0.05, 0.6), (0.3, 0.95)) for _ in range(3)]
    mix = noise(rng, height, width, 90, 4)[..., None]
    image = colours[0] * (1 - mix) + colours[1] * mix
    for _ in range(rng.integers(3, 8)):
        patch = np.zeros((height, width), np.uint8)
        centre = rng.uniform((0, 0), (width, height))
        corners = centre + rng.uniform(-70, 70, (rng.integers(3, 7), 2))
        cv2.fillPoly(patch, [cv2.convexHull(corners.astype(np.int32))], (255,), cv2.LINE_AA)
        weight = (rng.uniform(0.2, 0.6) / 255.0) * patch[..., None].astype(np.float32)
        image = image * (1 - weight) + colour(rng, (0.1, 0.7), (0.2, 0.95)) * weight
    strength = 45.0 * noise(rng, height, width, 120, 1) * rng.uniform(0.3, 1.0)
    image += (strength * (pattern(rng, height, width, rng.uniform(8, 24)) - 0.5))[..., None]
    image += 40.0 * (noise(rng, height, width, 10, 3) - 0.5)[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)
