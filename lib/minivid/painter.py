"""A small vector painter: filled outlines with dark edges and a texture, rendered to an image with alpha."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from .texture import colour, pattern

SIDE = 320  # px: width and height of the canvas
_SHIFT = 4  # fractional bits of cv2 coordinates
_MARGIN = 0.94  # fraction of the canvas that -1 to 1 covers; the rest leaves room for edges

Points = Sequence[tuple[float, float]]


def arc(centre: tuple[float, float], rx: float, ry: float, start: float, end: float) -> np.ndarray:
    """Points (24, 2) on an ellipse between two angles, in turns, clockwise from the right."""
    turn = 2 * np.pi * np.linspace(start, end, 24)
    return np.stack([centre[0] + rx * np.cos(turn), centre[1] + ry * np.sin(turn)], 1)


def smooth(points: Points | np.ndarray) -> np.ndarray:
    """A closed Catmull-Rom curve (8 N, 2) through `points` (N, 2)."""
    p1 = np.asarray(points, np.float64)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    t = np.linspace(0, 1, 8, endpoint=False)[None, :, None]
    a, b, c, d = (q[:, None, :] for q in (p0, p1, p2, p3))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return curve.reshape(-1, 2)


class Painter:
    """A canvas for one thing, with coordinates from -1 to 1; the colours are chosen at random in the constructor."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.image = np.zeros((SIDE, SIDE, 3), np.uint8)
        self.mask = np.zeros((SIDE, SIDE), np.uint8)
        self.textured = np.zeros((SIDE, SIDE), np.uint8)
        self.body = colour(rng, (0.35, 0.95), (0.5, 1.0))
        self.second = colour(rng, (0.3, 0.95), (0.4, 1.0))
        self.rim = np.full(3, rng.uniform(8, 40))
        self.dark = np.full(3, rng.uniform(35, 80)) + rng.uniform(-10, 10, 3)
        self.light = np.full(3, rng.uniform(190, 225))
        self.white = np.full(3, 245.0)
        self.glass = np.array([235.0, 205, 150]) + rng.uniform(-25, 20, 3)
        self.yellow = np.array([60.0, 220, 250])
        self.red = np.array([40.0, 40, 220])
        self.orange = np.array([30.0, 150, 245]) + rng.uniform(-20, 10, 3)
        self.brown = np.array([45.0, 80, 125]) + rng.uniform(-20, 20, 3)

    def polygon(self, points: Points | np.ndarray, paint: np.ndarray, edge: float = 0.035) -> None:
        """Fills a closed outline (N, 2) and draws its edge with the width `edge`."""
        pixels = _pixels(points)
        wholly = paint is self.body or paint is self.second
        for target, value in (
            (self.image, tuple(map(float, paint))),
            (self.mask, (255,)),
            (self.textured, (255 if wholly else 0,)),
        ):
            cv2.fillPoly(target, [pixels], value, cv2.LINE_AA, _SHIFT)
        thick = max(1, round(edge * SIDE / 2))
        cv2.polylines(self.image, [pixels], True, tuple(self.rim.tolist()), thick, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self.mask, [pixels], True, (255,), thick, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self.textured, [pixels], True, (0,), thick, cv2.LINE_AA, _SHIFT)

    def blob(self, points: Points | np.ndarray, paint: np.ndarray) -> None:
        """`polygon` with its corners rounded."""
        self.polygon(smooth(points), paint)

    def ellipse(self, centre: tuple[float, float], rx: float, ry: float, paint: np.ndarray) -> None:
        """A filled ellipse of the given radii."""
        self.polygon(arc(centre, rx, ry, 0, 1), paint, edge=0.03)

    def line(self, points: Points | np.ndarray, width: float, paint: np.ndarray) -> None:
        """An open line; a wide one gets dark edges, unless it has the colour of the rim."""
        pixels = _pixels(points)
        thick = max(1, round(width * SIDE / 2))
        border = 0 if paint is self.rim or width < 0.06 else max(2, round(0.03 * SIDE))
        for value, wide in ((self.rim, thick + border), (paint, thick)):
            cv2.polylines(self.image, [pixels], False, tuple(map(float, value)), wide, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self.mask, [pixels], False, (255,), thick + border, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self.textured, [pixels], False, (0,), thick + border, cv2.LINE_AA, _SHIFT)


def _pixels(points: Points | np.ndarray) -> cv2.typing.MatLike:
    """Converts points with coordinates from -1 to 1 to cv2 fixed-point coordinates."""
    scaled = (np.asarray(points, np.float64) * _MARGIN + 1) * (SIDE / 2) - 0.5
    return np.round(scaled * 2**_SHIFT).astype(np.int32)


def drawing(draw: Callable[[Painter, np.random.Generator], None], rng: np.random.Generator) -> np.ndarray:
    """Draws one thing with texture and rim, cropped: (h, w, 4) uint8 BGRA, not yet premultiplied by alpha."""
    painter = Painter(rng)
    draw(painter, rng)
    x, y, width, height = cv2.boundingRect((painter.mask > 127).astype(np.uint8))
    cut = slice(y, y + height), slice(x, x + width)
    surface = pattern(rng, height, width, rng.uniform(20, 44)) - 0.5
    shade = np.float32(rng.uniform(0.25, 0.6) / 255) * painter.textured[cut] * surface
    shade += np.linspace(1.1, 0.9, height, dtype=np.float32)[:, None]
    image = cv2.multiply(painter.image[cut], np.dstack([shade] * 3), dtype=cv2.CV_8U)
    rim = cv2.morphologyEx(painter.mask, cv2.MORPH_GRADIENT, np.ones((7, 7), np.uint8))[cut]
    flat = np.broadcast_to(np.rint(painter.rim).astype(np.uint8), image.shape)
    image = cv2.blendLinear(image, flat, (255 - rim) / np.float32(255), rim / np.float32(255))
    return np.dstack([image, painter.mask[cut]])
