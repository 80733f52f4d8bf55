"""A stock of sprites and backdrops drawn once, because pairs and crops are needed faster than they can be drawn."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from . import sprites
from .texture import background

_SPANS = (128, 64, 32)  # px: each sprite is kept at these sizes, so that warping never shrinks by more than half
_SEED = (0x5EED, 0)  # differs from dataset seeds, so that no drawing of a dataset is in the stock
_EACH = 32  # sprites per label
_BACKDROPS = 32
_NOISE = 1 << 22  # samples of noise
_TIGHT = 4  # px of transparent border of a sprite, both sides together


@dataclass(frozen=True)
class Stock:
    """Sprites by label (0: blobs, 1..C: things), each in several sizes; backdrops (h, w, 3) uint8 BGR; normal noise."""

    sprites: tuple[tuple[tuple[np.ndarray, ...], ...], ...]
    backdrops: tuple[np.ndarray, ...]
    normal: np.ndarray

    def sprite(self, rng: np.random.Generator, label: int, span: float) -> tuple[np.ndarray, float]:
        """A random sprite (h, w, 4) uint8 of a label, and the scale that makes its longer side `span` px.

        It is mirrored half the time and its colour channels are permuted half the time, for more variety.
        """
        sizes = self.sprites[label][rng.integers(len(self.sprites[label]))]
        image = next((size for size in reversed(sizes) if max(size.shape[:2]) >= span), sizes[0])
        if rng.random() < 0.5:
            image = cv2.flip(image, 1)
        if rng.random() < 0.5:
            image = _reordered(image, [*rng.permutation(3), 3])
        return image, span / (max(image.shape[:2]) - _TIGHT)

    def backdrop(self, rng: np.random.Generator) -> np.ndarray:
        """A random backdrop, flipped at random, with permuted colour channels half the time."""
        image = self.backdrops[rng.integers(len(self.backdrops))]
        if rng.random() < 0.5:
            image = _reordered(image, rng.permutation(3))
        flip = int(rng.integers(-1, 3))
        return cv2.flip(image, flip) if flip < 2 else image

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Standard normal noise (float32) of a shape, taken from a random place in the stock."""
        count = int(np.prod(shape))
        if count > self.normal.size:
            return rng.standard_normal(shape, np.float32)
        start = int(rng.integers(self.normal.size - count + 1))
        return self.normal[start : start + count].reshape(shape)


def _reordered(image: cv2.typing.MatLike, channels: list[int] | np.ndarray) -> np.ndarray:
    result = np.empty_like(image)
    cv2.mixChannels([image], [result], [int(each) for pair in zip(channels, range(len(channels))) for each in pair])
    return result


@functools.cache
def stock() -> Stock:
    """The stock of this process, drawn at first use in a few seconds."""
    rng = np.random.default_rng(_SEED)

    def sizes(label: int) -> tuple[np.ndarray, ...]:
        large = sprites.thing(rng, label, _SPANS[0]) if label else sprites.distractor(rng, _SPANS[0])
        factors = [span / _SPANS[0] for span in _SPANS[1:]]
        return (large, *(cv2.resize(large, None, fx=by, fy=by, interpolation=cv2.INTER_AREA) for by in factors))

    drawn = tuple(tuple(sizes(label) for _ in range(_EACH)) for label in range(len(sprites.NAMES) + 1))
    backdrops = tuple(background(rng, 272, 336) for _ in range(_BACKDROPS))
    return Stock(drawn, backdrops, rng.standard_normal(_NOISE, np.float32))
