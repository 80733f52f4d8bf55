"""Draws the eight things of MiniVID, and blobs, which belong to no class, with coordinates from -1 to 1 (y down).

Each function draws on a `Painter`. The shape of a thing is fixed; its proportions and colours vary with `rng`. Things
with a front face left; half of the sprites are mirrored.
"""

from __future__ import annotations

import numpy as np

from .painter import Painter, arc


def airplane(p: Painter, rng: np.random.Generator) -> None:
    """Seen from above: fuselage, swept wings, tailplane, cockpit, a row of windows."""
    sweep, chord, half = rng.uniform(0.25, 0.45), rng.uniform(0.32, 0.4), rng.uniform(0.85, 0.98)
    for side in (-1, 1):
        wing = [(-0.25, 0), (-0.25 + sweep, half), (-0.05 + sweep, half), (-0.25 + chord + 0.1, 0)]
        p.polygon([(x, side * y) for x, y in wing], p.second)
        for engine in (0.33, 0.6):
            x = -0.25 + sweep * engine / half
            p.ellipse((x - 0.02, side * engine), 0.12, 0.06, p.dark)
        tail = [(0.62, 0), (0.82, 0.36), (0.98, 0.36), (0.9, 0)]
        p.polygon([(x, side * y) for x, y in tail], p.second)
    width = rng.uniform(0.13, 0.17)
    p.blob([(-0.98, 0), (-0.8, -width), (-0.2, -width), (0.5, -width * 0.9), (0.97, -0.03),
            (0.97, 0.03), (0.5, width * 0.9), (-0.2, width), (-0.8, width)], p.body)  # fmt: skip
    p.blob([(-0.86, 0), (-0.74, -0.09), (-0.68, 0), (-0.74, 0.09)], p.glass)
    for x in np.linspace(-0.5, 0.5, 6):
        p.ellipse((x, 0), 0.04, 0.05, p.glass)
    p.polygon([(0.6, -0.03), (0.96, -0.05), (0.96, 0.05), (0.6, 0.03)], p.dark)


def car(p: Painter, rng: np.random.Generator) -> None:
    """Seen from the side: body, cabin with two windows, two wheels, lights."""
    roof, floor, wheel = rng.uniform(-0.52, -0.44), 0.3, rng.uniform(0.2, 0.24)
    p.polygon([(-0.97, 0.28), (-0.99, 0.02), (-0.9, -0.08), (-0.52, -0.14), (-0.26, roof),
               (0.42, roof), (0.74, -0.12), (0.95, -0.08), (0.99, 0.1), (0.97, 0.28), (0.8, floor),
               (-0.8, floor)], p.body)  # fmt: skip
    p.polygon([(-0.4, -0.13), (-0.2, roof + 0.08), (0.04, roof + 0.08), (0.04, -0.13)], p.glass)
    p.polygon([(0.12, -0.13), (0.12, roof + 0.08), (0.38, roof + 0.08), (0.6, -0.13)], p.glass)
    p.line([(0.08, -0.12), (0.08, 0.26)], 0.03, p.rim)
    p.line([(0.16, 0.0), (0.28, 0.0)], 0.05, p.rim)
    p.ellipse((-0.92, 0.06), 0.06, 0.07, p.yellow)
    p.ellipse((0.94, 0.04), 0.05, 0.07, p.red)
    for x in (-0.55, 0.56):
        p.ellipse((x, 0.3), wheel, wheel, p.dark)
        p.ellipse((x, 0.3), wheel * 0.5, wheel * 0.5, p.light)


def duck(p: Painter, rng: np.random.Generator) -> None:
    """A swimming duck: body with a raised tail, neck, head, beak, wing, eye."""
    neck = rng.uniform(-0.05, 0.05)
    p.blob([(-0.74, -0.52), (-1.0, -0.42), (-0.97, -0.3), (-0.72, -0.32)], p.orange)
    p.blob([(-0.52, -0.72), (-0.3, -0.6), (-0.24, -0.36), (-0.2 + neck, -0.1), (0.15, -0.06), (0.6, -0.14),
            (0.95, -0.42), (0.96, -0.1), (0.78, 0.32), (0.35, 0.54), (-0.2, 0.54), (-0.58, 0.34),
            (-0.66, 0.05), (-0.54, -0.16), (-0.74, -0.36), (-0.74, -0.58)], p.body)  # fmt: skip
    p.blob([(-0.2, 0.06), (0.2, 0.02), (0.72, 0.0), (0.5, 0.26), (0.1, 0.34), (-0.18, 0.24)], p.second)
    p.line(arc((0.22, 0.06), 0.3, 0.14, 0.1, 0.8), 0.025, p.rim)
    p.ellipse((-0.54, -0.5), 0.085, 0.085, p.white)
    p.ellipse((-0.57, -0.5), 0.028, 0.032, p.rim)
    p.line([(-0.98, -0.37), (-0.78, -0.4)], 0.025, p.rim)


def fish(p: Painter, rng: np.random.Generator) -> None:
    """Body, forked tail, dorsal and ventral fins, gill, scales, eye, mouth."""
    deep = rng.uniform(0.42, 0.54)
    p.polygon([(0.42, 0.0), (0.97, -0.48), (0.84, 0.0), (0.97, 0.48)], p.second)
    p.blob([(-0.3, -deep + 0.1), (-0.1, -deep - 0.26), (0.3, -deep - 0.1), (0.38, -0.2)], p.second)
    p.blob([(-0.15, deep - 0.1), (0.12, deep + 0.2), (0.32, 0.25)], p.second)
    p.blob([(-0.98, 0.02), (-0.72, -0.3), (-0.3, -deep), (0.1, -deep * 0.84), (0.46, -0.14), (0.58, 0.0),
            (0.46, 0.14), (0.1, deep * 0.84), (-0.3, deep), (-0.74, 0.3)], p.body)  # fmt: skip
    p.line(arc((-0.62, 0.0), 0.22, 0.34, -0.32, 0.32), 0.04, p.rim)
    p.blob([(-0.3, 0.08), (-0.02, 0.02), (0.04, 0.24), (-0.16, 0.22)], p.second)
    for x in (-0.05, 0.12, 0.29):
        p.line(arc((x, -0.08), 0.08, 0.14, -0.4, 0.4), 0.022, p.rim)
    p.ellipse((-0.66, -0.12), 0.1, 0.1, p.white)
    p.ellipse((-0.69, -0.12), 0.034, 0.038, p.rim)
    p.line([(-0.95, 0.08), (-0.78, 0.12)], 0.035, p.rim)


def house(p: Painter, rng: np.random.Generator) -> None:
    """Gable roof with a chimney, wall, door, two windows."""
    eaves, wall = rng.uniform(-0.2, -0.1), rng.uniform(0.68, 0.78)
    p.polygon([(0.36, -0.3), (0.36, -0.88), (0.6, -0.88), (0.6, -0.1)], p.dark)
    p.polygon([(-wall, eaves), (wall, eaves), (wall, 0.9), (-wall, 0.9)], p.body)
    p.polygon([(-0.97, eaves + 0.06), (0.0, -0.95), (0.97, eaves + 0.06)], p.second)
    p.polygon([(-0.16, 0.9), (-0.16, 0.32), (0.16, 0.32), (0.16, 0.9)], p.brown)
    p.ellipse((0.09, 0.62), 0.035, 0.035, p.yellow)
    for x in (-0.44, 0.44):
        p.polygon([(x - 0.16, 0.1), (x + 0.16, 0.1), (x + 0.16, 0.44), (x - 0.16, 0.44)], p.glass)
        p.line([(x, 0.1), (x, 0.44)], 0.04, p.white)
        p.line([(x - 0.16, 0.27), (x + 0.16, 0.27)], 0.04, p.white)
    p.ellipse((0.0, -0.4), 0.13, 0.13, p.glass)


def mug(p: Painter, rng: np.random.Generator) -> None:
    """A mug with an open handle, an open top and a band."""
    taper, low = rng.uniform(0.0, 0.1), rng.uniform(0.78, 0.9)
    p.line(arc((0.5, 0.06), 0.36, 0.4, -0.24, 0.24), 0.17, p.second)
    p.line([(0.44, -0.34), (0.54, -0.34)], 0.16, p.second)
    p.line([(0.44, 0.46), (0.54, 0.46)], 0.16, p.second)
    p.polygon([(-0.78, -0.68), (0.5, -0.68), (0.5 - taper, low - 0.08), (0.36 - taper, low),
               (-0.64 + taper, low), (-0.78 + taper, low - 0.08)], p.body)  # fmt: skip
    p.polygon([(-0.765, 0.0), (0.485, 0.0), (0.465 - taper / 2, 0.28), (-0.745 + taper / 2, 0.28)], p.second)
    p.ellipse((-0.14, -0.68), 0.64, 0.17, p.light)
    p.ellipse((-0.14, -0.66), 0.54, 0.115, p.brown)


def tree(p: Painter, rng: np.random.Generator) -> None:
    """A fir: three tiers of branches on a trunk."""
    p.polygon([(-0.12, 0.5), (0.12, 0.5), (0.15, 0.97), (-0.15, 0.97)], p.brown)
    tiers = ((0.0, 0.66, rng.uniform(0.72, 0.8)), (-0.45, 0.24, rng.uniform(0.56, 0.62)), (-0.97, -0.2, 0.42))
    for top, low, half in tiers:
        droop = 0.07
        p.polygon([(0.0, top), (half, low), (half * 0.5, low - droop), (half * 0.25, low + 0.04), (0, low - droop),
                   (-half * 0.25, low + 0.04), (-half * 0.5, low - droop), (-half, low)], p.body)  # fmt: skip
    for x, y in ((-0.34, 0.44), (0.3, 0.36), (-0.02, 0.12), (-0.2, -0.1), (0.22, -0.08), (0.02, -0.42)):
        p.ellipse((x, y), 0.065, 0.065, p.second)


def umbrella(p: Painter, rng: np.random.Generator) -> None:
    """An open umbrella: scalloped canopy in panels, shaft, hooked handle."""
    p.line([(0.0, -0.9), (0.0, 0.66)], 0.1, p.brown)
    p.line(arc((0.17, 0.7), 0.17, 0.2, 0.0, 0.5), 0.11, p.brown)
    top, edge, scallop = rng.uniform(-0.82, -0.74), 0.06, 0.12
    ribs = np.array([-0.97, -0.42, 0.42, 0.97])
    colours = (p.body, p.second, p.body)
    for left, right, paint in zip(ribs[:-1], ribs[1:], colours):
        u = np.linspace(0, 1, 12)
        hem = np.stack([right + (left - right) * u, edge - scallop * np.sin(np.pi * u)], 1)
        sides = [np.stack([x * np.sin(np.pi / 2 * u), edge + (top - edge) * np.cos(np.pi / 2 * u)], 1)
                 for x in (left, right)]  # fmt: skip
        p.polygon(np.concatenate([sides[0][::-1], sides[1], hem]), paint)
    p.line([(0.0, -0.95), (0.0, top)], 0.08, p.dark)


def blob(p: Painter, rng: np.random.Generator) -> None:
    """A random rounded shape with a few random marks; it belongs to no class."""
    corners = int(rng.integers(6, 11))
    turn = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.35, 0.35, corners)) / corners
    radius = rng.uniform(0.45, 0.95, corners)
    p.blob(np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1), p.body)
    for _ in range(rng.integers(1, 5)):
        x, y = rng.uniform(-0.35, 0.35, 2)
        p.ellipse((x, y), rng.uniform(0.05, 0.2), rng.uniform(0.05, 0.2), (p.second, p.dark, p.light)[rng.integers(3)])


THINGS = (airplane, car, duck, fish, house, mug, tree, umbrella)
NAMES = tuple(draw.__name__ for draw in THINGS)
