"""Synthetic inputs that the operators' benchmarks share."""

from __future__ import annotations

import numpy as np


def smooth_flow(frames: int, height: int, width: int) -> np.ndarray:
    """(frames, 2, height, width): grows with the distance from the middle frame, and varies slightly over the image."""
    y, x = np.mgrid[:height, :width]
    away = np.arange(frames).reshape(-1, 1, 1) - frames // 2
    horizontal = 0.3 * away + 0.5 * np.sin(0.2 * y + away)
    vertical = 0.1 * away + 0.5 * np.sin(0.15 * x + away)
    return np.stack([horizontal, vertical], axis=1).astype(np.float32)
