"""What the tests of MiniVID share: the default settings, and clips of one frame made of plain squares."""

from __future__ import annotations

import numpy as np

from lib.minivid import degrade, layers, scene
from lib.minivid.settings import Settings

DEFAULT = Settings()


def square(side: int = 20) -> np.ndarray:
    image = np.zeros((side + 4, side + 4, 4), np.uint8)
    image[2:-2, 2:-2] = (10, 20, 200, 255)
    return image


def clip_of(*things: layers.Layer) -> scene.Scene:
    clean = degrade.Degradation(np.ones(1), np.zeros(1), np.ones(1), 0.0, 0.0)
    return scene.Scene(60, 80, np.zeros((60, 80, 3), np.uint8), np.eye(2, 3)[None], things, clean, (0,))
