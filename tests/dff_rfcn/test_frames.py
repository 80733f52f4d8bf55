"""The key frame of a training frame."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dff_rfcn.frames import KeyFrame
from lib.dataset.imagenet_vid import TrainEntry


def entry(frame, count):
    return TrainEntry(Path("VID"), "VID", f"train/a/{frame:06d}", "train/a", frame, count)


def drawn(entry, low, high, times):
    rng = np.random.default_rng(0)
    draw = KeyFrame(low, high)
    for _ in range(times):
        found = draw(entry, rng)
        assert list(found) == ["data", "data_ref", "eq_flag"] and found["data"] == entry.image
        number = int(found["data_ref"].stem)
        assert found["eq_flag"].dtype == np.float32 and found["eq_flag"].tolist() == [number == entry.frame]
        yield number


def test_every_offset_is_as_likely():
    numbers = Counter(drawn(entry(50, 100), -9, 0, 4000))
    assert set(numbers) == set(range(41, 51))
    assert max(numbers.values()) < 1.2 * 400 and min(numbers.values()) > 0.8 * 400


def test_key_frames_are_clamped_to_the_clip():
    numbers = Counter(drawn(entry(2, 100), -9, 0, 1000))
    assert set(numbers) == {0, 1, 2} and numbers[0] > 700
    assert set(drawn(entry(0, 1), -9, 0, 20)) == {0}


@pytest.mark.parametrize("low, high", [(-9, 0), (-3, -3)])
def test_a_still_image_is_its_own_key_frame(low, high):
    still = TrainEntry(Path("DET"), "DET", "train/x/n1_1", None, 0, 1)
    found = KeyFrame(low, high)(still, np.random.default_rng(0))
    assert found["data"] == found["data_ref"] == Path("DET/train/x/n1_1.JPEG")
    assert found["eq_flag"].tolist() == [1]


def test_the_draw_follows_the_generator():
    def series(seed):
        rng = np.random.default_rng(seed)
        return [KeyFrame(-9, 0)(entry(50, 100), rng)["data_ref"] for _ in range(5)]

    assert series(1) == series(1) != series(2)
