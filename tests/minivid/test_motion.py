"""Trajectories of the sprites."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st

from lib.minivid import motion


@given(st.sampled_from(motion.KINDS), st.floats(20, 240), st.integers(0, 10**6))
@options(max_examples=25, deadline=None)
def test_no_object_moves_faster_than_a_flow_network_can_follow(kind, span, seed):
    path = motion.drift(np.random.default_rng(seed), kind, span, 24)
    assert np.linalg.norm(np.diff(path.centre, axis=0), axis=1).max() <= motion.MAX_SPEED + 1e-6
    assert np.abs(path.scale - 1).max() < 0.06
    if kind == "slow":
        assert np.abs(path.velocity).max() <= 0.006 * span


def test_unknown_kind_of_motion_is_an_error():
    with pytest.raises(ValueError, match="slow, medium, fast"):
        motion.drift(np.random.default_rng(0), "quick", 50, 24)


def test_transform_takes_the_middle_of_the_sprite_to_the_centre():
    path = motion.moving(np.array([[30.0, 40.0]]), 0.3, 1.2)
    matrix = path.transforms(11, 21)[0]
    assert matrix @ (10, 5, 1) == pytest.approx((30, 40))
    assert np.linalg.det(matrix[:, :2]) == pytest.approx(1.44)
