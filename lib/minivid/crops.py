"""Square crops of single things for training the backbone as a classifier."""

from __future__ import annotations

import cv2
import numpy as np

from . import sprites
from .atlas import Stock, stock
from .degrade import clear, draw, finish
from .layers import paste, place
from .motion import Trajectory

_MOMENTS = 24  # frames of the clip from which a crop takes its degradations
_CLEAR = 0.5  # fraction of crops that look like frames between the spells of degradation
_SPANS = (26, 130)  # px: the sizes of objects in clips, and slightly more


def crops(rng: np.random.Generator, n: int, size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Crops (n, size, size, 3) uint8 BGR and labels (n,) int32: 1..C things, 0 a backdrop with or without a blob.

    Objects are as large as in the clips and near the middle of the crop; sometimes there is another object at the edge
    or a bar in front. Half of the crops have the degradations of the clips, the others are clear. All labels are
    equally likely. Crops depend only on `rng`.
    """
    store = stock()
    labels = rng.integers(0, len(sprites.NAMES) + 1, n).astype(np.int32)
    images = [_crop(rng, store, int(label), size) for label in labels]
    return np.array(images, np.uint8).reshape(n, size, size, 3), labels


def _crop(rng: np.random.Generator, store: Stock, label: int, size: int) -> np.ndarray:
    """One crop (size, size, 3) uint8."""
    image = _ground(rng, store.backdrop(rng), size)
    faults, moment = draw(rng, _MOMENTS), int(rng.integers(_MOMENTS))
    if rng.random() < _CLEAR:
        faults = clear(faults)
    middle = np.full(2, size / 2)
    if rng.random() < 0.3:
        turn = rng.uniform(0, 2 * np.pi)
        beside = middle + 0.62 * size * np.array([np.cos(turn), np.sin(turn)])
        _show(rng, store, image, int(rng.integers(len(store.sprites))), beside, faults.exposure[moment])
    if label or rng.random() < 0.6:
        _show(rng, store, image, label, middle + rng.uniform(-10, 10, 2), faults.exposure[moment])
    if rng.random() < 0.12:
        bar, tilt = sprites.bar(rng, 2 * size), rng.normal(0, 0.4)
        path = Trajectory(middle + rng.normal(0, size / 4, (1, 2)), np.full(1, tilt), np.ones(1), np.zeros((1, 2)))
        placed = place(bar, path.transforms(*bar.shape[:2])[0], size, size)
        if placed is not None:
            paste(image, placed)
    return finish(image, faults, moment, store.noise(rng, image.shape))


def _ground(rng: np.random.Generator, backdrop: np.ndarray, size: int) -> np.ndarray:
    """A random part (size, size, 3) uint8 of a backdrop."""
    if min(backdrop.shape[:2]) < size:
        backdrop = cv2.resize(backdrop, (max(size, backdrop.shape[1]), max(size, backdrop.shape[0])))
    y, x = (int(rng.integers(side - size + 1)) for side in backdrop.shape[:2])
    return backdrop[y : y + size, x : x + size].copy()


def _show(
    rng: np.random.Generator, store: Stock, image: np.ndarray, label: int, centre: np.ndarray, exposure: float
) -> None:
    """Draws a sprite of a label at `centre`, blurred along a random motion of up to 12 % of its span per frame."""
    span = float(np.exp(rng.uniform(*np.log(_SPANS))))
    sprite, scale = store.sprite(rng, label, span)
    turn, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.12) ** 2 / 0.12 * span
    path = Trajectory(centre[None], rng.normal(0, 0.14, 1), np.full(1, scale), np.zeros((1, 2)))
    blur = exposure * speed * np.array([np.cos(turn), np.sin(turn)])
    placed = place(sprite, path.transforms(*sprite.shape[:2])[0], image.shape[0], image.shape[1], blur)
    if placed is not None:
        paste(image, placed)
