"""Box deltas, clipping and mirroring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.bbox.transform import clip, decode, encode, flip

BOX = np.float32([[10, 20, 19, 39]])  # 10 wide, 20 high, centre 14.5, 29.5

coordinate = st.floats(0, 500, width=32)
side = st.floats(1, 300, width=32)
box = st.tuples(coordinate, coordinate, side, side).map(lambda v: [v[0], v[1], v[0] + v[2], v[1] + v[3]])


def test_encode_by_hand():
    shifted = BOX + np.float32([1, 2, 1, 2])
    np.testing.assert_allclose(encode(BOX, shifted), [[0.1, 0.1, 0, 0]], atol=1e-7)
    doubled = np.float32([[5, 20, 24, 39]])  # 20 wide about the same centre
    np.testing.assert_allclose(encode(BOX, doubled), [[0, 0, np.log(2), 0]], atol=1e-7)


def test_decode_by_hand_with_two_boxes_per_row():
    deltas = np.float32([[0, 0, 0, 0, 0.1, 0.1, np.log(2), 0]])
    np.testing.assert_allclose(decode(BOX, deltas), [[10, 20, 19, 39, 6, 22, 25, 41]], rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(box, box), max_size=5))
def test_round_trip(pairs):
    boxes = np.float32([pair[0] for pair in pairs]).reshape(-1, 4)
    targets = np.float32([pair[1] for pair in pairs]).reshape(-1, 4)
    np.testing.assert_allclose(decode(boxes, encode(boxes, targets)), targets, atol=2e-2)


def test_an_infinite_box_is_clipped_to_the_image():
    huge = decode(BOX, np.float32([[0, 0, 1000, 1000]]))
    np.testing.assert_array_equal(clip(huge, 50, 100), [[0, 0, 99, 49]])


def test_clip_copies_and_accepts_several_boxes_per_row():
    boxes = np.float32([[-1, -2, 200, 300, 5, 6, 7, 8]])
    np.testing.assert_array_equal(clip(boxes, 50, 100), [[0, 0, 99, 49, 5, 6, 7, 8]])
    assert boxes[0, 0] == -1


def test_flip_by_hand_and_twice():
    boxes = np.float32([[0, 1, 9, 2, 7], [10, 1, 19, 2, 8]])
    mirrored = flip(boxes, 20)
    np.testing.assert_array_equal(mirrored, [[10, 1, 19, 2, 7], [0, 1, 9, 2, 8]])
    np.testing.assert_array_equal(flip(mirrored, 20), boxes)


def test_rows_that_do_not_match():
    with pytest.raises(ValueError):
        encode(BOX, np.zeros((2, 4)))
    with pytest.raises(ValueError):
        decode(BOX, np.zeros((2, 4)))
    with pytest.raises(ValueError):
        decode(BOX, np.zeros((1, 5)))


def test_nothing():
    nothing = np.zeros((0, 4), np.float32)
    assert encode(nothing, nothing).shape == decode(nothing, nothing).shape == clip(nothing, 5, 5).shape == (0, 4)
