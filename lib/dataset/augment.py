"""Random changes of the images of a training example; none by default."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Rows: luma and the two colour differences of NTSC, from red, green and blue.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_GREY = 128.0  # what contrast leaves as it is


def colour_matrix(brightness: float, contrast: float, saturation: float, hue: float) -> np.ndarray:
    """A matrix (3, 4) for `cv2.transform` that changes the colours of BGR images, the same way in every frame.

    brightness, contrast, saturation: factors of the values, of their difference from mid-grey, and of their difference
    from grey of the same luma. hue: part of a full circle by which colours turn in the plane of I and Q, with their
    luma kept.
    """
    across, along = (saturation * turn(2 * math.pi * hue) for turn in (math.cos, math.sin))
    chroma = np.array([[1, 0, 0], [0, across, -along], [0, along, across]])
    rgb = brightness * contrast * np.linalg.inv(_YIQ) @ chroma @ _YIQ
    return np.column_stack((rgb[::-1, ::-1], np.full(3, (1 - contrast) * _GREY)))


@dataclass(frozen=True)
class Augmentation:
    """How much the images of a training example change at random. All frames of an example change alike.

    brightness, contrast, saturation, scale: factors are drawn evenly from 1 - x to 1 + x; scale is that of the size.
    hue: drawn from -x to x, in parts of a full circle. For a 0, no random number is drawn.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    scale: float = 0.0

    def draw(self, rng: np.random.Generator) -> tuple[float, np.ndarray | None]:
        """The factor of the size, and the colour matrix, or None if colours stay as they are."""
        scale, brightness, contrast, saturation = (
            1 + (rng.uniform(-limit, limit) if limit else 0.0)
            for limit in (self.scale, self.brightness, self.contrast, self.saturation)
        )
        hue = rng.uniform(-self.hue, self.hue) if self.hue else 0.0
        colours = (brightness, contrast, saturation, hue)
        return scale, None if colours == (1, 1, 1, 0) else colour_matrix(*colours)


NO_AUGMENTATION = Augmentation()
