"""Warps, blurs and pastes sprites onto a frame, and computes the flow between two of their positions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .degrade import line_kernel
from .motion import Trajectory

_LEAST_BLUR = 1.0  # px of motion during the exposure; shorter motion is not blurred


@dataclass(frozen=True)
class Layer:
    """A sprite that moves through a clip.

    image: (h, w, 4) uint8 BGRA, premultiplied by alpha. transforms: (T, 2, 3), from its pixels to those of each frame.
    velocity: (T, 2) px per frame. label: 1..C, or 0 for what is not an object. track: the object's number in the clip.
    """

    image: np.ndarray
    transforms: np.ndarray
    velocity: np.ndarray
    label: int = 0
    track: int = -1

    @classmethod
    def along(cls, image: np.ndarray, path: Trajectory, label: int = 0, track: int = -1) -> Layer:
        """The layer of a sprite whose centre follows `path`."""
        return cls(image, path.transforms(*image.shape[:2]), path.velocity, label, track)


@dataclass(frozen=True)
class Placed:
    """A warped sprite, (h, w, 4) uint8, cut to the frame; (x, y) is its top left pixel in the frame."""

    x: int
    y: int
    image: np.ndarray

    @property
    def region(self) -> tuple[slice, slice]:
        """Its rows and columns in the frame."""
        return slice(self.y, self.y + self.image.shape[0]), slice(self.x, self.x + self.image.shape[1])

    @property
    def solid(self) -> np.ndarray:
        """(h, w) bool: where it hides what is below it."""
        return self.image[..., 3] > 127


def extent(image: np.ndarray, transform: np.ndarray) -> tuple[int, int, int, int]:
    """Bounding box x1 y1 x2 y2 of a warped sprite in whole pixels; x2 and y2 are exclusive."""
    right, low = image.shape[1] - 1, image.shape[0] - 1
    sides = []
    for along, down, start in transform.tolist():
        across, below = along * right, down * low
        first = start + min(across, 0.0) + min(below, 0.0)
        sides.append((math.floor(first), math.ceil(first + abs(across) + abs(below)) + 1))
    (x1, x2), (y1, y2) = sides
    return x1, y1, x2, y2


def place(
    image: np.ndarray, transform: np.ndarray, height: int, width: int, motion: np.ndarray | None = None
) -> Placed | None:
    """Warps a sprite into a frame of (height, width), blurred along `motion` (dx, dy) px; None if it is outside."""
    x1, y1, x2, y2 = extent(image, transform)
    kernel = None
    if motion is not None and np.hypot(*motion) >= _LEAST_BLUR:
        kernel = line_kernel(motion)
        reach = len(kernel) // 2
        x1, y1, x2, y2 = x1 - reach, y1 - reach, x2 + reach, y2 + reach
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    if left >= right or top >= bottom:
        return None
    # A blurred sprite is cut to the frame after blurring, so that parts outside the frame smear into it.
    x, y, w, h = (left, top, right - left, bottom - top) if kernel is None else (x1, y1, x2 - x1, y2 - y1)
    shifted = transform - np.array([[0, 0, x], [0, 0, y]])
    warped = cv2.warpAffine(image, shifted, (w, h), flags=cv2.INTER_LINEAR)
    if kernel is not None:
        warped = cv2.filter2D(warped, -1, kernel, borderType=cv2.BORDER_CONSTANT)
        warped = warped[top - y : bottom - y, left - x : right - x]
    return Placed(left, top, warped)


def paste(frame: np.ndarray, placed: Placed) -> None:
    """Draws a placed sprite over `frame` (H, W, 3) uint8, in place."""
    part = frame[placed.region]
    alpha = cv2.extractChannel(placed.image, 3)
    cv2.multiply(part, cv2.cvtColor(cv2.bitwise_not(alpha), cv2.COLOR_GRAY2BGR), dst=part, scale=1 / 255)
    cv2.add(part, cv2.cvtColor(placed.image, cv2.COLOR_BGRA2BGR), dst=part)


def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The map (2, 3) from points of the first frame to the second, from the transforms (2, 3) of both."""
    first, second = (np.vstack([matrix, (0, 0, 1)]) for matrix in (first, second))
    return (second @ np.linalg.inv(first))[:2]


def displacement(step: np.ndarray, x: int, y: int, width: int, height: int) -> np.ndarray:
    """The flow (2, height, width) float32 of the map `step` (2, 3), for the region whose top left pixel is (x, y)."""
    columns = np.arange(x, x + width, dtype=np.float32)
    rows = np.arange(y, y + height, dtype=np.float32)[:, None]
    (a, b, c), (d, e, f) = step.astype(np.float32)
    return np.stack([(a - 1) * columns + (b * rows + c), d * columns + ((e - 1) * rows + f)])
