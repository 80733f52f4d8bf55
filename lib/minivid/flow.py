"""True optical flow between frames of a clip, and synthetic image pairs for training a flow network.

Flow is (2, H, W) float32 in pixels from the first image to the second, x before y: what is at pixel (x, y) of the
first is at (x + flow[0, y, x], y + flow[1, y, x]) of the second. Each pixel has the flow of the top-most layer, also
where the second image hides it. Layers are rigid: position, rotation and scale change, but not the shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from . import motion
from .atlas import stock
from .degrade import draw
from .layers import Layer, Placed, between, displacement, place
from .scene import Scene, crossing_bar

FARTHEST = 9  # frames: the largest distance between two frames in training and testing of FGFA
_FAULTS = 24  # frames of the clip from which a pair takes its degradations
_BARS = 0.25  # fraction of pairs with a bar in front, which the network must learn to ignore
_FAR = 0.33  # fraction of a pair's sprites that move farther than objects of clips


class FramePair(NamedTuple):
    """Two frames of a clip, (H, W, 3) uint8 BGR, and the flow from the first to the second.

    moving: (H, W) bool, pixels of objects that move by 1 px or more and are visible in both frames. objects: (H, W)
    bool, pixels of objects in the first frame. Blobs, bars and the backdrop are neither.
    """

    image_i: np.ndarray
    image_j: np.ndarray
    flow: np.ndarray
    moving: np.ndarray
    objects: np.ndarray


class RandomPair(NamedTuple):
    """A synthetic pair of images, (H, W, 3) uint8 BGR, and the flow from a to b.

    moving: (H, W) bool, pixels of sprites that move by 1 px or more and are visible in both images.
    """

    image_a: np.ndarray
    image_b: np.ndarray
    flow: np.ndarray
    moving: np.ndarray


def frame_pair(scene: Scene, i: int, j: int, degraded: bool = True, normal: np.ndarray | None = None) -> FramePair:
    """Frames i and j of a clip (`scene_of(settings, split, index)`) with the true flow from i to j.

    The images are those of the dataset before JPEG compression, or sharp and clean ones unless `degraded`. normal:
    (2, H, W, 3) noise to use instead of the clip's.
    """
    steps = [between(layer.transforms[i], layer.transforms[j]) for layer in scene.layers]
    placed_i, placed_j = (
        [place(layer.image, layer.transforms[t], scene.height, scene.width) for layer in scene.layers] for t in (i, j)
    )
    camera = between(scene.camera[i], scene.camera[j])
    flow, owner = _compose(scene.height, scene.width, camera, placed_i, steps)
    labels = np.array([layer.label for layer in scene.layers] + [0])
    objects = labels[owner] > 0
    moving = objects & _moves_in_sight(flow, owner, _owners(scene.height, scene.width, placed_j))
    image_i, image_j = (
        scene.render(t, degraded, None if normal is None else normal[number]) for number, t in enumerate((i, j))
    )
    return FramePair(image_i, image_j, flow, moving, objects)


def random_pair(rng: np.random.Generator, height: int = 192, width: int = 256, degraded: bool = True) -> RandomPair:
    """A pair like those of Flying Chairs (Dosovitskiy et al. 2015, section 4), adapted to MiniVID.

    4 to 10 sprites move over a backdrop, sometimes behind a bar. Most move as objects of the clips do within 1 to 9
    frames, the others farther. The backdrop pans as in the clips, or is shifted, rotated and scaled at random,
    sometimes together with the sprites. With `degraded`, the images have the degradations of two random frames of a
    clip.
    """
    scene = _flying(rng, height, width)
    normal = stock().noise(rng, (2, height, width, 3)) if degraded else None
    return RandomPair(*frame_pair(scene, 0, 1, degraded, normal)[:4])


def _flying(rng: np.random.Generator, height: int, width: int) -> Scene:
    """A pair as a clip of two frames; all sprites count as objects."""
    store = stock()
    times = rng.permutation([0, int(rng.integers(1, FARTHEST + 1))])
    camera, carries = _camera(rng, abs(int(times[1] - times[0])), height, width)
    layers = []
    for _ in range(rng.integers(4, 11)):
        span = float(np.exp(rng.uniform(np.log(24), np.log(120))))
        image, scale = store.sprite(rng, int(rng.integers(len(store.sprites))), span)
        layer = Layer.along(image, _flight(rng, span, times, (height, width), scale), label=1)
        if carries:
            layer.transforms[1] = _after(camera, layer.transforms[1])
        layers.append(layer)
    if rng.random() < _BARS:
        whole = crossing_bar(rng, height, width, FARTHEST + 1)
        layers.append(Layer(whole.image, whole.transforms[times], whole.velocity[times]))
    backdrop = store.backdrop(rng)
    margin = np.array([[1.0, 0, (width - backdrop.shape[1]) / 2], [0, 1.0, (height - backdrop.shape[0]) / 2]])
    faults = draw(rng, _FAULTS).at(rng.integers(_FAULTS, size=2))
    ground = np.stack([margin, _after(camera, margin)])
    return Scene(height, width, backdrop, ground, tuple(layers), faults, seed=())


def _flight(
    rng: np.random.Generator, span: float, times: np.ndarray, size: tuple[int, int], zoom: float
) -> motion.Trajectory:
    """The two positions of a sprite: those of an object of the clips at two times, or farther apart for one in three.

    zoom: the scale that makes the sprite `span` px long.
    """
    height, width = size
    kind = motion.KINDS[rng.choice(3, p=(0.15, 0.25, 0.6))]
    path = motion.drift(rng, kind, span, FARTHEST + 1)
    centre, angle, scale, velocity = (each[times] for each in (path.centre, path.angle, path.scale, path.velocity))
    if rng.random() < _FAR:
        turn, far = rng.uniform(0, 2 * np.pi), min(rng.exponential(16), 60.0)
        step = far * np.array([np.cos(turn), np.sin(turn)])
        centre, velocity = np.stack([-step / 2, step / 2]), np.stack([step, step]) / abs(int(times[1] - times[0]))
        velocity = np.clip(velocity, -motion.MAX_SPEED, motion.MAX_SPEED)
        angle = rng.normal(0, 0.15) + rng.normal(0, 0.12, 2)
        scale = 1 + rng.normal(0, 0.04, 2)
    centre = centre - centre.mean(0) + rng.uniform((0, 0), (width, height))
    return motion.Trajectory(centre, angle, scale * zoom, velocity)


def _camera(rng: np.random.Generator, gap: int, height: int, width: int) -> tuple[np.ndarray, bool]:
    """The map (2, 3) of the backdrop from one image to the other, and whether sprites move with it."""
    if rng.random() < 0.5:
        return motion.moving(motion.pan(rng, gap + 1)).transforms(1, 1)[gap], False
    angle, scale, shift = rng.normal(0, 0.04), 1 + rng.normal(0, 0.04), rng.normal(0, 7, 2)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear, middle = np.array([[cos, -sin], [sin, cos]]), np.array([width / 2, height / 2])
    return np.column_stack([linear, middle + shift - linear @ middle]), bool(rng.random() < 0.5)


def _after(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The map (2, 3) that does `first`, then `second`."""
    return second @ np.vstack([first, (0, 0, 1)])


def _owners(height: int, width: int, placed: Sequence[Placed | None]) -> np.ndarray:
    """Index of the top-most layer at each pixel, (height, width) int; -1: the backdrop."""
    owner = np.full((height, width), -1)
    for index, each in enumerate(placed):
        if each is not None:
            owner[each.region][each.solid] = index
    return owner


def _compose(
    height: int, width: int, camera: np.ndarray, placed: Sequence[Placed | None], steps: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The flow (2, height, width) of the top-most layers, and their indices (`_owners`)."""
    flow = displacement(camera, 0, 0, width, height)
    for each, step in zip(placed, steps):
        if each is not None:
            moved = displacement(step, each.x, each.y, each.image.shape[1], each.image.shape[0])
            np.copyto(flow[(slice(None), *each.region)], moved, where=each.solid)
    return flow, _owners(height, width, placed)


def _moves_in_sight(flow: np.ndarray, owner: np.ndarray, owner_then: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels that move by 1 px or more to a pixel where the same layer is on top."""
    height, width = owner.shape
    x = np.rint(flow[0] + np.arange(width)).astype(np.int32)
    y = np.rint(flow[1] + np.arange(height)[:, None]).astype(np.int32)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    same = owner_then[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] == owner
    return inside & same & (flow[0] ** 2 + flow[1] ** 2 >= 1)
