"""Sprites: drawings at the size they are shown at, with colours times alpha so that they filter without fringes."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .painter import Painter, drawing
from .silhouettes import NAMES, THINGS, blob
from .texture import colour, pattern

__all__ = ["NAMES", "bar", "distractor", "sprite", "thing"]

_BORDER = 2  # transparent pixels round a sprite: warping needs them for smooth edges


def sprite(drawn: np.ndarray, span: float, stretch: float = 1.0, mirror: bool = False) -> np.ndarray:
    """A drawing (h, w, 4) uint8 with its longer side scaled to `span` px and its width by `stretch` before that.

    Returns (h', w', 4) uint8 BGRA, colours times alpha, with a transparent border of 2 px.
    """
    height, width = drawn.shape[0], drawn.shape[1] * stretch
    factor = span / max(height, width)
    size = (max(2, round(width * factor)), max(2, round(height * factor)))
    alpha = cv2.extractChannel(drawn, 3)
    shown = cv2.multiply(drawn, cv2.merge([alpha, alpha, alpha, np.full_like(alpha, 255)]), scale=1 / 255)
    shown = cv2.resize(shown, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    if mirror:
        shown = cv2.flip(shown, 1)
    return cv2.copyMakeBorder(shown, _BORDER, _BORDER, _BORDER, _BORDER, cv2.BORDER_CONSTANT)


def thing(rng: np.random.Generator, label: int, span: float) -> np.ndarray:
    """A sprite of class `label` (1..8, as in NAMES) with its longer side `span` px."""
    return _drawn(THINGS[label - 1], rng, span)


def distractor(rng: np.random.Generator, span: float) -> np.ndarray:
    """A sprite of no class: a textured, rimmed blob."""
    return _drawn(blob, rng, span)


def _drawn(draw: Callable[[Painter, np.random.Generator], None], rng: np.random.Generator, span: float) -> np.ndarray:
    return sprite(drawing(draw, rng), span, rng.uniform(0.88, 1.14), bool(rng.integers(2)))


def bar(rng: np.random.Generator, length: int) -> np.ndarray:
    """An upright textured bar, 7 to 18 px wide and `length` long, that passes in front of everything."""
    width = int(rng.integers(7, 19))
    paint = colour(rng, (0.0, 0.5), (0.15, 0.8))
    surface = paint * (1 + 0.6 * (pattern(rng, length, width, 10) - 0.5))[..., None]
    surface[:, [0, -1]] *= 0.4
    opaque = np.full((length, width, 1), 255.0)
    shown = np.clip(np.concatenate([surface, opaque], 2), 0, 255).astype(np.uint8)
    return cv2.copyMakeBorder(shown, 0, 0, _BORDER, _BORDER, cv2.BORDER_CONSTANT)
