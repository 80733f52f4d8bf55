"""What is annotated: boxes, objects that leave the frame or are covered, speeds and sizes."""

from __future__ import annotations

import numpy as np

from lib.minivid import layers, motion, scene
from lib.minivid.settings import Settings
from tests.minivid.clips import DEFAULT, clip_of, square


def test_another_seed_gives_other_pictures():
    first, second = (scene.scene_of(Settings(seed=seed), "val", 0).render(0) for seed in (0, 1))
    assert np.abs(first.astype(int) - second).mean() > 10


def still(x: float, y: float, label: int, track: int = -1, side: int = 20) -> layers.Layer:
    """A square whose top left corner stays at (x, y)."""
    path = motion.moving(np.full((1, 2), 0.0) + (x + (side - 1) / 2, y + (side - 1) / 2))
    return layers.Layer.along(square(side), path, label, track)


def test_box_is_the_silhouette_in_inclusive_pixels():
    assert clip_of(still(30, 10, 4, 7)).objects(0) == [scene.Object(7, 4, (30, 10, 49, 29), False)]


def test_box_is_cut_by_the_frame():
    (found,) = clip_of(still(-8, 45, 1, 0)).objects(0)
    assert found.box == (0, 45, 11, 59)


def test_object_that_left_the_frame_by_more_than_60_percent_is_dropped():
    assert len(clip_of(still(-11, 10, 1, 0)).objects(0)) == 1  # 9 of 20 columns inside
    assert clip_of(still(-13, 10, 1, 0)).objects(0) == []  # 7 of 20


def test_covered_object_is_marked_and_then_dropped():
    assert [each.occluded for each in clip_of(still(30, 10, 1, 0), still(46, 10, 0)).objects(0)] == [False]  # 4 of 20
    assert [each.occluded for each in clip_of(still(30, 10, 1, 0), still(40, 10, 0)).objects(0)] == [True]  # 10 of 20
    assert clip_of(still(30, 10, 1, 0), still(32, 10, 0)).objects(0) == []  # 18 of 20
    assert len(clip_of(still(32, 10, 0), still(30, 10, 1, 0)).objects(0)) == 1  # below, it hides nothing


def test_speeds_and_sizes_all_occur():
    clips = [scene.scene_of(DEFAULT, "val", number) for number in range(12)]
    spans = [max(layer.image.shape[:2]) - 4 for clip in clips for layer in clip.layers if layer.label]
    speeds = [
        np.linalg.norm(layer.velocity, axis=1).max() / span
        for span, layer in zip(spans, (layer for clip in clips for layer in clip.layers if layer.label))
    ]
    assert min(spans) < 45 and max(spans) > 150
    assert min(speeds) < 0.007 and max(speeds) > 0.05
