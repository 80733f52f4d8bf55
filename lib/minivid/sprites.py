"""Sprites: drawings scaled to their final size and premultiplied by alpha, so that filtering leaves no fringes."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .painter import Painter, drawing
from .silhouettes import NAMES, THINGS, blob
from .texture import colour, pattern

__all__ = ["NAMES", "bar", "distractor", "sprite", "thing"]

_BORDER = 2  # transparent pixels around a sprite, for smooth edges after warping


def sprite(drawn: np.ndarray, span: float, stretch: float = 1.0, mirror: bool = False) -> np.ndarray:
    """Stretches the width of a drawing (h, w, 4) uint8 by `stretch`, then scales its longer side to `span` px.

    Returns (h', w', 4) uint8 BGRA, premultiplied by alpha, with a transparent border of 2 px.
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
    """A random sprite of class `label` (1..8, in the order of NAMES); its longer side is `span` px."""
    return _drawn(THINGS[label - 1], rng, span)


def distractor(rng: np.random.Generator, span: float) -> np.ndarray:
    """A random sprite of no class: a blob with texture and rim."""
    return _drawn(blob, rng, span)


def _drawn(draw: Callable[[Painter, np.random.Generator], None], rng: np.random.Generator, span: float) -> np.ndarray:
    return sprite(drawing(draw, rng), span, rng.uniform(0.88, 1.14), bool(rng.integers(2)))


def bar(rng: np.random.Generator, length: int) -> np.ndarray:
    """An upright textured bar, 7 to 18 px wide and `length` px long."""
    width = int(rng.integers(7, 19))
    paint = colour(rng, (0.0, 0.5), (0.15, 0.8))
    surface = paint * (1 + 0.6 * (pattern(rng, length, width, 10) - 0.5))[..., None]
    surface[:, [0, -1]] *= 0.4
    opaque = np.full((length, width, 1), 255.0)
    shown = np.clip(np.concatenate([surface, opaque], 2), 0, 255).astype(np.uint8)
    return cv2.copyMakeBorder(shown, 0, 0, _BORDER, _BORDER, cv2.BORDER_CONSTANT)
