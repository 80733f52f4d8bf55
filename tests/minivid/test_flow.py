"""True optical flow between two frames, and random pairs to train the flow network on."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lib.minivid import degrade, flow, layers, motion, scene
from tests.minivid.clips import DEFAULT, square


def warped(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    return cv2.remap(image, x + field[0], y + field[1], cv2.INTER_LINEAR)


def test_flow_of_a_square_is_its_shift_and_that_of_the_backdrop_the_pan():
    path = motion.moving(np.array([[20.0, 20], [27, 16]]))
    camera = motion.moving(np.array([[0.0, 0], [1, 2]])).transforms(1, 1)
    clean = degrade.Degradation(np.ones(2), np.zeros(2), np.ones(2), 0.0, 0.0)
    thing = layers.Layer.along(square(), path, 3, 0)
    clip = scene.Scene(60, 80, np.zeros((60, 80, 3), np.uint8), camera, (thing,), clean, (0,))
    found = flow.frame_pair(clip, 0, 1)
    assert found.flow.shape == (2, 60, 80) and found.flow.dtype == np.float32
    assert found.flow[:, 20, 20] == pytest.approx((7, -4), abs=1e-4)
    assert found.flow[:, 50, 60] == pytest.approx((1, 2), abs=1e-4)
    assert found.objects[20, 20] and not found.objects[50, 60]
    assert found.moving[20, 20] and not found.moving[50, 60]  # the backdrop is no object


def test_object_behind_another_in_the_second_frame_does_not_count_as_moving():
    path = motion.moving(np.array([[20.0, 20], [50, 20]]))
    wall = layers.Layer.along(square(40), motion.moving(np.array([[55.0, 20], [55, 20]])))
    clean = degrade.Degradation(np.ones(2), np.zeros(2), np.ones(2), 0.0, 0.0)
    clip = scene.Scene(60, 80, np.zeros((60, 80, 3), np.uint8), np.eye(2, 3)[None].repeat(2, 0),
                       (layers.Layer.along(square(), path, 3, 0), wall), clean, (0,))  # fmt: skip
    found = flow.frame_pair(clip, 0, 1)
    assert found.objects[20, 20] and found.flow[0, 20, 20] == pytest.approx(30) and not found.moving[20, 20]


@pytest.mark.parametrize(("number", "i", "j"), [(0, 3, 4), (1, 3, 7), (2, 15, 6), (20, 5, 14)])
def test_flow_takes_the_second_frame_back_to_the_first(number, i, j):
    found = flow.frame_pair(scene.scene_of(DEFAULT, "val", number), i, j, degraded=False)
    inner = cv2.erode(found.moving.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert inner.sum() > 200
    error = np.abs(warped(found.image_j, found.flow).astype(float) - found.image_i)[inner].mean()
    unmoved = np.abs(found.image_j.astype(float) - found.image_i)[inner].mean()
    assert error < 8 and error < 0.35 * unmoved


def test_flow_there_and_back_is_zero():
    clip = scene.scene_of(DEFAULT, "val", 3)
    assert np.abs(flow.frame_pair(clip, 4, 4).flow).max() < 1e-3
    there, back = flow.frame_pair(clip, 4, 9), flow.frame_pair(clip, 9, 4)
    returned = np.stack([warped(back.flow[axis], there.flow) for axis in (0, 1)])
    inner = cv2.erode(there.moving.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    assert np.abs(there.flow + returned)[:, inner].mean() < 0.1


def test_frames_of_a_pair_are_those_of_the_clip():
    clip = scene.scene_of(DEFAULT, "val", 5)
    found = flow.frame_pair(clip, 2, 11)
    assert (found.image_i == clip.render(2)).all() and (found.image_j == clip.render(11)).all()


def test_random_pairs_are_right_varied_and_repeatable():
    rng = np.random.default_rng(4)
    moved, errors, unmoved = [], [], []
    for _ in range(12):
        a, b, field, moving = flow.random_pair(rng, 160, 192, degraded=False)
        assert a.shape == b.shape == (160, 192, 3) and field.shape == (2, 160, 192) and moving.shape == (160, 192)
        inner = cv2.erode(moving.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        moved.append(np.hypot(*field)[moving])
        errors.append(np.abs(warped(b, field).astype(float) - a)[inner])
        unmoved.append(np.abs(b.astype(float) - a)[inner])
    assert np.concatenate(errors).mean() < 0.3 * np.concatenate(unmoved).mean()
    assert np.percentile(np.concatenate(moved), 20) < 10 and np.percentile(np.concatenate(moved), 95) > 25
    first, second = (flow.random_pair(np.random.default_rng(9)) for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, second))
