"""What makes single frames fail: long exposure, defocus, low contrast, noise, in short spells between good frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SHUTTER = 0.8  # share of the time between two frames that the shutter is open outside the spells


@dataclass(frozen=True)
class Degradation:
    """Of one clip of T frames.

    exposure (T,) frame times that the shutter is open; defocus (T,) sigma in px, 0 none; contrast (T,) 1 full;
    grey, the level that faded frames fade to; noise, its sigma in grey levels.
    """

    exposure: np.ndarray
    defocus: np.ndarray
    contrast: np.ndarray
    grey: float
    noise: float


def spells(rng: np.random.Generator, frames: int, share: float, shortest: int, longest: int) -> np.ndarray:
    """The spell that each frame is in (frames,) int, -1 none: runs of shortest..longest frames, `share` of all frames.

    Gaps are drawn around the length that gives the share, so a clip may hold none.
    """
    result = np.full(frames, -1)
    gap = (shortest + longest) / 2 * (1 - share) / share
    start, spell = rng.uniform(-0.5, 1.0) * gap, 0
    while start < frames:
        length = int(rng.integers(shortest, longest + 1))
        result[max(0, int(start)) : max(0, int(start) + length)] = spell
        start, spell = start + length + max(1.0, gap * rng.uniform(0.5, 1.5)), spell + 1
    return result


def _levels(rng: np.random.Generator, runs: np.ndarray, off: float, low: float, high: float) -> np.ndarray:
    """One value in low..high for each spell, `off` outside."""
    values = rng.uniform(low, high, runs.max(initial=-1) + 2)
    values[-1] = off
    return values[runs]


def draw(rng: np.random.Generator, frames: int) -> Degradation:
    """The degradations of a clip: see the ranges in the code."""
    exposure = _levels(rng, spells(rng, frames, 0.45, 2, 6), 1.0, 1.5, 4.0) * SHUTTER
    defocus = _levels(rng, spells(rng, frames, 0.2, 2, 4), 0.0, 2.0, 4.5)
    contrast = _levels(rng, spells(rng, frames, 0.22, 3, 6), 1.0, 0.2, 0.45)
    return Degradation(exposure, defocus, contrast, rng.uniform(70, 180), rng.uniform(4, 14))


def line_kernel(motion: np.ndarray) -> np.ndarray:
    """The blur of a point that moves by `motion` (dx, dy) px while the shutter is open; odd-sided, sums to 1."""
    half = int(np.ceil(np.abs(motion).max() / 2)) + 1
    steps = np.linspace(-0.5, 0.5, 2 * int(np.ceil(np.hypot(*motion))) + 3)[:, None] * motion + half
    low = np.floor(steps).astype(int)
    part = steps - low
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1])
            np.add.at(kernel, (low[:, 1] + dy, low[:, 0] + dx), weight)
    return kernel / kernel.sum()


def finish(image: np.ndarray, degradation: Degradation, frame: int, rng: np.random.Generator) -> np.ndarray:
    """Defocus, faded contrast and noise of one frame: image (H, W, 3) float32 -> uint8. Motion blur is the layers' own."""
    sigma = float(degradation.defocus[frame])
    if sigma > 0:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    contrast = float(degradation.contrast[frame])
    if contrast < 1:
        image = image * np.float32(contrast) + np.float32((1 - contrast) * degradation.grey)
    noise = rng.standard_normal(image.shape, np.float32)
    noise *= np.float32(degradation.noise)
    noise += image
    return cv2.convertScaleAbs(np.maximum(noise, 0, out=noise))
