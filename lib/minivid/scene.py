"""Clips: chooses what each one shows, renders its frames and lists its objects."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from . import motion, sprites
from .degrade import Degradation, draw, finish
from .layers import Layer, extent, paste, place
from .settings import Settings
from .texture import background

_LEAST_SEEN = 0.4  # annotated objects have at least this fraction of their silhouette in the frame ...
_LEAST_FREE = 0.15  # ... of which at least this fraction is not covered
_OCCLUDED = 0.3  # objects are occluded if more than this fraction of the silhouette is covered
_CLOSE_UPS = 0.22  # fraction of clips with an object about as high as the frame
_CLOSE_UP_SHARES = (0.25, 0.2, 0.55)  # their motion: slow, medium, fast
_MARGIN = 40  # px of backdrop around the frame, for the pan of the camera


@dataclass(frozen=True)
class Object:
    """An object in a frame. box: x1 y1 x2 y2 of the part of its sharp silhouette in the frame, inclusive pixels."""

    track: int
    label: int
    box: tuple[int, int, int, int]
    occluded: bool


@dataclass(frozen=True)
class Scene:
    """A clip: backdrop, camera path (T, 2, 3), layers from bottom to top, degradations, and the seed of the noise."""

    height: int
    width: int
    backdrop: np.ndarray
    camera: np.ndarray
    layers: tuple[Layer, ...]
    degradation: Degradation
    seed: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.camera)

    def render(self, frame: int, degraded: bool = True, normal: np.ndarray | None = None) -> np.ndarray:
        """One frame, (H, W, 3) uint8 BGR; sharp and clean unless `degraded`. normal: (H, W, 3), replaces its noise."""
        image = cv2.warpAffine(
            self.backdrop, self.camera[frame], (self.width, self.height), borderMode=cv2.BORDER_REFLECT_101
        )
        exposure = self.degradation.exposure[frame]
        for layer in self.layers:
            blur = layer.velocity[frame] * exposure if degraded else None
            placed = place(layer.image, layer.transforms[frame], self.height, self.width, blur)
            if placed is not None:
                paste(image, placed)
        if not degraded:
            return image
        if normal is None:
            rng = np.random.default_rng((*self.seed, frame))
            normal = rng.standard_normal((self.height, self.width, 3), np.float32)
        return finish(image, self.degradation, frame, normal)

    def objects(self, frame: int) -> list[Object]:
        """The annotated objects of a frame, sorted by track.

        Objects with less than 40 % of their silhouette in the frame, or more than 85 % covered, are left out.
        """
        found = []
        covered = np.zeros((self.height, self.width), bool)
        for layer in reversed(self.layers):
            placed = place(layer.image, layer.transforms[frame], self.height, self.width)
            if placed is None:
                continue
            solid, above = placed.solid, covered[placed.region]
            if layer.label and solid.any():
                inside = int(solid.sum())
                free = 1 - int((solid & above).sum()) / inside
                if inside >= _LEAST_SEEN * _area(layer, frame) and free >= _LEAST_FREE:
                    x, y, w, h = cv2.boundingRect(solid.astype(np.uint8))
                    box = (placed.x + x, placed.y + y, placed.x + x + w - 1, placed.y + y + h - 1)
                    found.append(Object(layer.track, layer.label, box, free < 1 - _OCCLUDED))
            above |= solid
        return sorted(found, key=lambda each: each.track)


def _area(layer: Layer, frame: int) -> float:
    """Pixels of the whole silhouette, including those outside the frame."""
    matrix = layer.transforms[frame]
    return float((layer.image[..., 3] > 127).sum()) * abs(np.linalg.det(matrix[:, :2]))


def _span(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(30), np.log(110))))


def _cost(
    image: np.ndarray, path: motion.Trajectory, others: list[np.ndarray], height: int, width: int
) -> tuple[float, np.ndarray]:
    """The mean fraction of a sprite that is outside the frame or over others along a path; and its boxes (T, 4)."""
    boxes = np.array([extent(image, matrix) for matrix in path.transforms(*image.shape[:2])], np.float64)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], 1)

    def common(other: np.ndarray) -> np.ndarray:
        low, high = np.maximum(boxes[:, :2], other[..., :2]), np.minimum(boxes[:, 2:], other[..., 2:])
        return np.prod(np.maximum(high - low, 0), 1)

    outside = 1 - common(np.array([0, 0, width, height])) / area
    over = sum((common(other) / area for other in others), np.zeros(len(boxes)))
    return float(outside.mean() + over.mean()), boxes


def _find_way(
    rng: np.random.Generator, image: np.ndarray, kind: str, others: list[np.ndarray], settings: Settings
) -> motion.Trajectory:
    """The best of twelve random paths: most of the object stays in the frame and clear of the others."""
    height, width = settings.height, settings.width
    tried = []
    for _ in range(12):
        path = motion.drift(rng, kind, max(image.shape[:2]), settings.frames)
        start = rng.uniform((0.1 * width, 0.12 * height), (0.9 * width, 0.88 * height))
        path = motion.moving(path.centre + start, path.angle, path.scale)
        tried.append((path, *_cost(image, path, others, height, width)))
    best, _, boxes = min(tried, key=lambda each: each[1])
    others.append(boxes)
    return best


def crossing_bar(rng: np.random.Generator, height: int, width: int, frames: int) -> Layer:
    """A slanted bar that crosses the image at 5 to 11 px per frame."""
    image = sprites.bar(rng, height + width)
    time = np.arange(frames) - rng.uniform(0, frames - 1)
    speed = rng.uniform(5, 11) * rng.choice([-1, 1])
    middle = np.array([width / 2, height / 2])
    tilt = rng.normal(0, 0.3) + (np.pi / 2 if rng.random() < 0.25 else 0.0)
    across = np.array([np.cos(tilt), np.sin(tilt)])
    return Layer.along(image, motion.moving(middle + time[:, None] * speed * across, tilt))


def layers(rng: np.random.Generator, settings: Settings) -> tuple[Layer, ...]:
    """The moving layers of a clip: blobs, two to four objects, one of them sometimes a close-up, and up to two bars."""
    taken: list[np.ndarray] = []
    result = []
    spans = [_span(rng) for _ in range(rng.integers(2, 5))]
    close = bool(rng.random() < _CLOSE_UPS)
    if close:
        spans[0] = rng.uniform(175, 215)  # the first object is below the others and does not hide them
    for track, span in enumerate(spans):
        label = int(rng.integers(1, len(sprites.NAMES) + 1))
        image = sprites.thing(rng, label, span)
        # The frame cuts moving close-ups, which leaves few large boxes that are fast: more of them are made fast.
        kind = motion.KINDS[rng.choice(3, p=_CLOSE_UP_SHARES if close and track == 0 else motion.SHARES)]
        result.append(Layer.along(image, _find_way(rng, image, kind, taken, settings), label, track))
    blobs = []
    for _ in range(rng.integers(1, 5)):
        image = sprites.distractor(rng, rng.uniform(20, 75))
        kind = motion.KINDS[rng.choice(3, p=motion.SHARES)]
        blobs.append(Layer.along(image, _find_way(rng, image, kind, taken, settings)))
    # At most one blob is in front of the objects; the others are below, where a close-up may hide them.
    front = blobs[:1] if rng.random() < 0.3 else []
    count = rng.choice(3, p=(0.4, 0.4, 0.2))
    bars = [crossing_bar(rng, settings.height, settings.width, settings.frames) for _ in range(count)]
    return (*blobs[len(front) :], *result, *front, *bars)


@functools.lru_cache(maxsize=16)
def scene_of(settings: Settings, split: str, index: int) -> Scene:
    """Clip `index` of a split ("train" or "val"); it depends only on the arguments. Raises ValueError for others."""
    if split not in settings.clips or not 0 <= index < settings.clips[split]:
        raise ValueError(f"no clip {index} in split {split!r}; the dataset has {settings.clips}")
    seed = (settings.seed, sorted(settings.clips).index(split), index)
    rng = np.random.default_rng(seed)
    height, width = settings.height, settings.width
    fastest = min(1.0, _MARGIN / settings.frames)
    path = motion.pan(rng, settings.frames, fastest)
    path -= path.mean(0) + _MARGIN
    camera = motion.moving(path).transforms(1, 1)
    backdrop = background(rng, height + 2 * _MARGIN, width + 2 * _MARGIN)
    return Scene(height, width, backdrop, camera, layers(rng, settings), draw(rng, settings.frames), seed)


def frames(scene: Scene) -> Iterator[tuple[np.ndarray, list[Object]]]:
    """The frames of a clip in order, each with its objects."""
    for frame in range(len(scene)):
        yield scene.render(frame), scene.objects(frame)
