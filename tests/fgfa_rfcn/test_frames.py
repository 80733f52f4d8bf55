"""The two neighbours of a training frame."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from fgfa_rfcn.frames import Neighbours
from lib.dataset.imagenet_vid import TrainEntry


def entry(frame, count):
    return TrainEntry(Path("VID"), "VID", f"train/a/{frame:06d}", "train/a", frame, count)


def drawn(entry, low, high, times=400):
    rng = np.random.default_rng(0)
    neighbours = Neighbours(low, high)
    for _ in range(times):
        found = neighbours(entry, rng)
        assert list(found) == ["data", "data_bef", "data_aft"] and found["data"] == entry.image
        yield tuple(int(found[name].stem) for name in ("data_bef", "data_aft"))


def test_two_different_offsets_each_as_likely():
    pairs = Counter(drawn(entry(50, 100), -2, 2, 4000))
    assert set(pairs) == {(50 + a, 50 + b) for a in range(-2, 3) for b in range(-2, 3) if a != b}
    assert max(pairs.values()) < 1.4 * 4000 / 20 and min(pairs.values()) > 0.6 * 4000 / 20


def test_neighbours_are_clamped_to_the_clip():
    found = set(drawn(entry(0, 3), -9, 9))
    assert {number for pair in found for number in pair} == {0, 1, 2}
    assert (0, 0) in found and (2, 2) in found  # different offsets that end at the same frame
    assert set(drawn(entry(0, 1), -9, 9)) == {(0, 0)}


def test_a_still_image_stands_in_for_its_neighbours():
    still = TrainEntry(Path("DET"), "DET", "train/x/n1_1", None, 0, 1)
    found = Neighbours(-9, 9)(still, np.random.default_rng(0))
    assert set(found.values()) == {Path("DET/train/x/n1_1.JPEG")}


def test_the_draw_follows_the_generator():
    first, second, other = (Neighbours(-9, 9)(entry(50, 100), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == second != other
