"""Trajectories: position, rotation and scale of a sprite in each frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KINDS = ("slow", "medium", "fast")
SHARES = (0.35, 0.23, 0.42)  # probability of each kind
MAX_SPEED = 12.0  # px per frame: within the range of a small flow network


@dataclass(frozen=True)
class Trajectory:
    """Centre (T, 2) as x y in px, angle (T,) in radians, scale (T,), velocity (T, 2) of the centre in px per frame."""

    centre: np.ndarray
    angle: np.ndarray
    scale: np.ndarray
    velocity: np.ndarray

    def transforms(self, height: int, width: int) -> np.ndarray:
        """Affine maps (T, 2, 3) float64 from pixels of a sprite of the given size to pixels of the frames."""
        cos, sin = self.scale * np.cos(self.angle), self.scale * np.sin(self.angle)
        linear = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        return np.concatenate([linear, (self.centre - linear @ middle)[..., None]], -1)


def moving(centre: np.ndarray, angle: np.ndarray | float = 0.0, scale: np.ndarray | float = 1.0) -> Trajectory:
    """The trajectory with these centres (T, 2); angle and scale may be constants."""
    frames = len(centre)
    velocity = np.gradient(centre, axis=0) if frames > 1 else np.zeros((1, 2))
    return Trajectory(centre, np.broadcast_to(angle, frames), np.broadcast_to(scale, frames), velocity)


def _wave(rng: np.random.Generator, time: np.ndarray, amplitude: float, period: tuple[float, float]) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * (time / rng.uniform(*period) + rng.random()))


def _direction(rng: np.random.Generator) -> np.ndarray:
    turn = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(turn), 0.7 * np.sin(turn)])  # frames are wider than they are high


def drift(rng: np.random.Generator, kind: str, span: float, frames: int) -> Trajectory:
    """A random trajectory for an object `span` px long; it passes (0, 0) half-way.

    Slow: at most .006 span per frame. Medium: .008 to .025 span, plus an oscillation of up to .1 span. Fast: .03 to
    .09 span, or an oscillation of that speed, or both; never above MAX_SPEED. Faster kinds also rotate and change
    scale more. Raises ValueError for another kind.
    """
    time = np.arange(frames) - (frames - 1) / 2
    speed, sway, turn, breath = 0.0, np.zeros(2), 0.02, 0.008
    if kind == "slow":
        speed = rng.uniform(0.0, 0.006)
    elif kind == "medium":
        speed, sway, turn, breath = rng.uniform(0.008, 0.025), rng.uniform(0, 0.1, 2), 0.07, 0.03
    elif kind == "fast":
        turn, breath = 0.12, 0.05
        if rng.random() < 0.7:
            speed = np.exp(rng.uniform(np.log(0.03), np.log(0.09)))
        if speed < 0.045:
            sway = rng.uniform(0.1, 0.4, 2)
    else:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    centre = time[:, None] * (speed * span * _direction(rng))
    centre += np.stack([_wave(rng, time, amplitude * span, (16, 30)) for amplitude in sway], 1)
    centre -= (centre[(frames - 1) // 2] + centre[frames // 2]) / 2
    fastest = np.linalg.norm(np.diff(centre, axis=0), axis=1).max(initial=0.0)
    centre *= min(1.0, MAX_SPEED / max(fastest, 1e-6))
    tilt = rng.normal(0, 0.12)
    angle = tilt + _wave(rng, time, rng.uniform(0, turn), (20, 48))
    scale = 1 + _wave(rng, time, rng.uniform(0, breath), (20, 48))
    return moving(centre, angle, scale)


def pan(rng: np.random.Generator, frames: int, fastest: float = 1.0) -> np.ndarray:
    """Path (T, 2) of the camera in px, from (0, 0): a steady pan of at most `fastest` px per frame."""
    turn, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0, fastest)
    return np.arange(frames)[:, None] * (speed * np.array([np.cos(turn), np.sin(turn)]))
