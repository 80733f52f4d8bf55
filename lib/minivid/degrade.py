"""Degradations that make single frames hard: motion blur, defocus, low contrast and noise, in short spells."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np

SHUTTER = 0.8  # exposure outside the spells, as a fraction of the time between two frames


@dataclass(frozen=True)
class Degradation:
    """The degradations of a clip of T frames.

    exposure: (T,), in units of the time between two frames. defocus: (T,) sigma in px, 0: none. contrast: (T,), 1:
    full. grey: the grey level that low-contrast frames fade to. noise: sigma in grey levels.
    """

    exposure: np.ndarray
    defocus: np.ndarray
    contrast: np.ndarray
    grey: float
    noise: float

    def at(self, frames: np.ndarray) -> Degradation:
        """The degradations of the given frames, in that order."""
        return dataclasses.replace(
            self, exposure=self.exposure[frames], defocus=self.defocus[frames], contrast=self.contrast[frames]
        )


def spells(rng: np.random.Generator, frames: int, share: float, shortest: int, longest: int) -> np.ndarray:
    """Number of the spell that each frame is in, (frames,) int, -1: none.

    Spells last shortest..longest frames and cover a fraction of about `share` of all frames. Gaps are drawn around the
    length that gives this fraction, so a clip may have no spell.
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
    """(frames,): a random value in low..high for each spell, `off` outside spells."""
    values = rng.uniform(low, high, runs.max(initial=-1) + 2)
    values[-1] = off
    return values[runs]


def draw(rng: np.random.Generator, frames: int) -> Degradation:
    """Draws the degradations of a clip."""
    exposure = _levels(rng, spells(rng, frames, 0.5, 2, 6), 1.0, 2.0, 6.0) * SHUTTER
    defocus = _levels(rng, spells(rng, frames, 0.4, 2, 5), 0.0, 3.0, 6.5)
    contrast = _levels(rng, spells(rng, frames, 0.3, 3, 6), 1.0, 0.18, 0.4)
    return Degradation(exposure, defocus, contrast, rng.uniform(70, 180), rng.uniform(6, 16))


def clear(degradation: Degradation) -> Degradation:
    """The same noise, but no frame in a spell."""
    ones = np.ones_like(degradation.contrast)
    return dataclasses.replace(degradation, exposure=SHUTTER * ones, defocus=np.zeros_like(ones), contrast=ones)


def line_kernel(motion: np.ndarray) -> np.ndarray:
    """Blur kernel of a point that moves by `motion` (dx, dy) px during the exposure; odd size, sum 1."""
    half = int(np.ceil(np.abs(motion).max() / 2)) + 1
    side = 2 * half + 1
    steps = np.linspace(-0.5, 0.5, 2 * int(np.ceil(np.hypot(*motion))) + 3)
    x, y = steps * motion[0] + half, steps * motion[1] + half
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    right, below = x - column, y - row
    first = row * side + column
    place = np.concatenate([first, first + 1, first + side, first + side + 1])
    share = np.concatenate([(1 - right) * (1 - below), right * (1 - below), (1 - right) * below, right * below])
    kernel = np.bincount(place, share / len(steps), side * side)
    return kernel.reshape(side, side).astype(np.float32)


def finish(image: np.ndarray, degradation: Degradation, frame: int, normal: np.ndarray) -> np.ndarray:
    """Applies defocus, contrast and noise of a frame to an image (H, W, 3) uint8; layers apply motion blur.

    normal: (H, W, 3) noise with a sigma of 1.
    """
    sigma = float(degradation.defocus[frame])
    if sigma > 0:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    contrast = float(degradation.contrast[frame])
    return cv2.addWeighted(
        image, contrast, normal, degradation.noise, (1 - contrast) * degradation.grey, dtype=cv2.CV_8U
    )
