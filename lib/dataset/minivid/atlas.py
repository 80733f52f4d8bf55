"""A stock of drawn sprites and backdrops, for pairs and crops that must be made faster than drawings can be."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from . import sprites
from .texture import background

_SPANS = (128, 64, 32)  # px: each sprite is kept at these sizes, so that warping never shrinks by more than half
_SEED = 0x5EED  # the stock is none of a dataset's own drawings


@dataclass(frozen=True)
class Stock:
    """Sprites by label (0 blobs, 1..C things), each a tuple of sizes; and backdrops (h, w, 3) uint8 BGR."""

    sprites: tuple[tuple[tuple[np.ndarray, ...], ...], ...]
    backdrops: tuple[np.ndarray, ...]

    def sprite(self, rng: np.random.Generator, label: int, span: float) -> tuple[np.ndarray, float]:
        """A random sprite (h, w, 4) uint8 of a label, and the scale that makes its longer side `span` px.

        Its colours are changed at random, so that a stock of dozens stands for thousands.
        """
        sizes = self.sprites[label][rng.integers(len(self.sprites[label]))]
        image = next((size for size in reversed(sizes) if max(size.shape[:2]) >= span), sizes[0])
        image = image[..., [*rng.permutation(3), 3]]
        if rng.random() < 0.5:
            image = image[:, ::-1]
        return np.ascontiguousarray(image), span / (max(image.shape[:2]) - 4)

    def backdrop(self, rng: np.random.Generator) -> np.ndarray:
        """A random backdrop, its channels shuffled and mirrored at random."""
        image = self.backdrops[rng.integers(len(self.backdrops))][..., rng.permutation(3)]
        return np.ascontiguousarray(image[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])])


@functools.lru_cache(maxsize=2)
def stock(each: int = 32, backdrops: int = 48, height: int = 272, width: int = 336) -> Stock:
    """`each` sprites of every label and some backdrops; drawn once a process, in a few seconds."""
    rng = np.random.default_rng(_SEED)

    def sizes(label: int) -> tuple[np.ndarray, ...]:
        large = sprites.thing(rng, label, _SPANS[0]) if label else sprites.distractor(rng, _SPANS[0])
        shrunk = (
            cv2.resize(large, None, fx=span / _SPANS[0], fy=span / _SPANS[0], interpolation=cv2.INTER_AREA)
            for span in _SPANS[1:]
        )
        return (large, *shrunk)

    drawn = tuple(tuple(sizes(label) for _ in range(each)) for label in range(len(sprites.NAMES) + 1))
    return Stock(drawn, tuple(background(rng, height, width) for _ in range(backdrops)))
