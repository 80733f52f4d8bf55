"""Random changes of training images: what each does, and that all frames of an example change alike."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
import pytest

from lib.dataset.augment import NO_AUGMENTATION, Augmentation, colour_matrix
from tests.dataset.test_loader import assert_same, make_dataset, make_loader

ALL = Augmentation(brightness=0.3, contrast=0.3, saturation=0.5, hue=0.1, scale=0.25)
LUMA = np.array([0.114, 0.587, 0.299])  # of blue, green and red


def changed(pixels, *colours):
    """BGR pixels (N, 3), as floats."""
    matrix = colour_matrix(*colours)
    return np.asarray(pixels) @ matrix[:, :3].T + matrix[:, 3]


@pytest.fixture
def pixels():
    return np.random.default_rng(0).uniform(0, 255, (50, 3))


def test_each_change_by_hand(pixels):
    grey = (pixels @ LUMA)[:, None]
    np.testing.assert_allclose(changed(pixels, 1, 1, 1, 0), pixels, atol=1e-9)
    np.testing.assert_allclose(changed(pixels, 1.2, 1, 1, 0), 1.2 * pixels, atol=1e-9)
    np.testing.assert_allclose(changed(pixels, 1, 0.7, 1, 0), 128 + 0.7 * (pixels - 128), atol=1e-9)
    np.testing.assert_allclose(changed(pixels, 1, 1, 0.4, 0), grey + 0.4 * (pixels - grey), atol=0.1)
    np.testing.assert_allclose(changed(pixels, 1, 1, 0, 0), np.tile(grey, 3), atol=0.1)


def test_hue_keeps_luma_and_grey_and_turns_the_circle(pixels):
    turned = changed(pixels, 1, 1, 1, 0.2)
    np.testing.assert_allclose(turned @ LUMA, pixels @ LUMA, atol=0.1)
    assert np.abs(turned - pixels).max() > 50
    np.testing.assert_allclose(changed([[90.0] * 3], 1, 1, 1, 0.3), [[90.0] * 3], atol=0.1)
    np.testing.assert_allclose(changed(turned, 1, 1, 1, -0.2), pixels, atol=1e-9)
    np.testing.assert_allclose(changed(pixels, 1, 1, 1, 0.5), changed(pixels, 1, 1, 1, -0.5), atol=1e-9)
    blue, green, red = changed([[60, 60, 180.0]], 1, 1, 1, 0.1)[0]
    hue = colorsys.rgb_to_hsv(red, green, blue)[0]
    assert 0.03 < min(hue, 1 - hue) < 0.2  # about a tenth of the circle from red


def test_nothing_is_drawn_by_default():
    rng = np.random.default_rng(3)
    before = rng.bit_generator.state
    assert NO_AUGMENTATION.draw(rng) == (1.0, None)
    assert rng.bit_generator.state == before
    scale, colours = Augmentation(scale=0.2).draw(rng)
    assert 0.8 <= scale <= 1.2 and scale != 1 and colours is None
    assert rng.bit_generator.state != before


def test_draws_fill_their_range():
    rng = np.random.default_rng(0)
    scales, matrices = zip(*(Augmentation(contrast=0.5, scale=0.2).draw(rng) for _ in range(500)))
    contrasts = [1 - matrix[0, 3] / 128 for matrix in matrices]
    assert 0.8 <= min(scales) < 0.81 and 1.19 < max(scales) <= 1.2
    assert 0.5 <= min(contrasts) < 0.52 and 1.48 < max(contrasts) <= 1.5


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path, [(64, 48)] * 5, [[[4 + number, 5, 30, 40, 1 + number]] for number in range(5)])


def test_a_batch_has_the_changed_pixels_and_boxes(dataset, monkeypatch):
    matrix = colour_matrix(1.1, 0.8, 1.3, 0.05)
    monkeypatch.setattr(Augmentation, "draw", lambda self, rng: (0.5, matrix))
    batch = make_loader(*dataset).batch(0, 0, 3, True)
    image = cv2.resize(cv2.imread(str(dataset[0][3].image))[:, ::-1], (32, 24), interpolation=cv2.INTER_LINEAR)
    expected = np.clip(image @ matrix[:, :3].T + matrix[:, 3], 0, 255) - [1, 2, 3]
    assert batch["data"].shape == (1, 3, 24, 32)
    np.testing.assert_allclose(batch["data"][0], expected.transpose(2, 0, 1)[::-1], atol=1.01)
    np.testing.assert_array_equal(batch["im_info"], [[24, 32, 0.5]])
    np.testing.assert_array_equal(batch["gt_boxes"], [[[16.5, 2.5, 28, 20, 4]]])


def test_frames_of_an_example_change_alike(dataset):
    def frames(entry, rng):
        return {"data": entry.image, "data_bef": entry.image, "data_aft": entry.image}

    loader = make_loader(*dataset, frames=frames, augmentation=ALL)
    batches = [loader.batch(0, position, 3, False) for position in range(8)]
    for batch in batches:
        np.testing.assert_array_equal(batch["data"], batch["data_bef"])
        np.testing.assert_array_equal(batch["data"], batch["data_aft"])
    assert len({batch["data"].tobytes() for batch in batches}) == 8
    assert len({batch["data"].shape for batch in batches}) > 3


def test_the_same_whatever_the_start_and_the_number_of_threads(dataset):
    options = {"augmentation": ALL, "scales": [(48, 80), (32, 60)], "devices": 2}
    whole = list(make_loader(*dataset, **options, workers=3).epoch(2))
    assert_same(whole[2:], list(make_loader(*dataset, **options, workers=1, prefetch=1).epoch(2, start=2)))
