"""Sprites, and the crops that the backbone is pre-trained on."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lib.minivid import crops, sprites


def test_crops_outside_the_spells_are_sharper(monkeypatch):
    def sharpness(share):
        monkeypatch.setattr(crops, "_CLEAR", share)
        images, _ = crops.crops(np.random.default_rng(1), 60, 64)
        return np.mean([cv2.Laplacian(cv2.GaussianBlur(image, (0, 0), 1.5), cv2.CV_32F).std() for image in images])

    assert sharpness(1.0) > 1.2 * sharpness(0.0)


def test_crops_are_labelled_repeatable_and_of_every_class():
    images, labels = crops.crops(np.random.default_rng(1), 120, 64)
    again, labels_again = crops.crops(np.random.default_rng(1), 120, 64)
    assert images.shape == (120, 64, 64, 3) and images.dtype == np.uint8 and labels.dtype == np.int32
    assert set(labels.tolist()) == set(range(9))
    assert (images == again).all() and (labels == labels_again).all()
    assert crops.crops(np.random.default_rng(1), 0)[0].shape == (0, 96, 96, 3)


@pytest.mark.parametrize("label", range(9))
def test_sprite_has_the_span_asked_for_and_a_dark_rim(label):
    rng = np.random.default_rng(label)
    image = sprites.thing(rng, label, 60) if label else sprites.distractor(rng, 60)
    _, _, width, height = cv2.boundingRect((image[..., 3] > 127).astype(np.uint8))
    assert max(width, height) == pytest.approx(60, abs=2)
    assert (image[..., :3] <= image[..., 3:].astype(int) + 1).all()  # colours times alpha
    solid = (image[..., 3] > 250).astype(np.uint8)
    rim = (solid > 0) & (cv2.erode(solid, np.ones((3, 3), np.uint8)) == 0)
    assert image[..., :3][rim].mean() < 0.75 * image[..., :3][(solid > 0) & ~rim].mean()
