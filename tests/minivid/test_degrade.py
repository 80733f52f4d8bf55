"""Degradations: motion blur, defocus, low contrast, noise, and the spells in which they occur."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st

from lib.minivid import degrade, layers, motion
from tests.minivid.clips import clip_of, square


@given(st.floats(-40, 40), st.floats(-40, 40))
@options(max_examples=25, deadline=None)
def test_blur_kernel_is_a_centred_line_of_the_motion(dx, dy):
    kernel = degrade.line_kernel(np.array([dx, dy])).astype(float)
    y, x = np.mgrid[0 : len(kernel), 0 : len(kernel)] - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert (kernel * x).sum() == pytest.approx(0, abs=1e-3) and (kernel * y).sum() == pytest.approx(0, abs=1e-3)
    rows, columns = np.nonzero(kernel > 1e-6)
    assert np.ptp(columns) <= abs(dx) + 2 and np.ptp(rows) <= abs(dy) + 2
    assert np.ptp(columns) >= abs(dx) - 1 and np.ptp(rows) >= abs(dy) - 1


def test_spells_are_short_and_take_their_share():
    rng = np.random.default_rng(0)
    runs = [degrade.spells(rng, 200, 0.3, 2, 4) for _ in range(40)]
    assert np.mean([(run >= 0).mean() for run in runs]) == pytest.approx(0.3, abs=0.05)
    lengths = [count for run in runs for count in np.bincount(run[run >= 0])[1:-1]]  # the ends may be cut
    assert set(lengths) == {2, 3, 4}


def test_degradations_do_what_they_say():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = 200
    noise = np.random.default_rng(0).standard_normal(image.shape, np.float32)

    def shown(defocus=0.0, contrast=1.0, sigma=0.0):
        faults = degrade.Degradation(np.ones(1), np.full(1, defocus), np.full(1, contrast), 100.0, sigma)
        return degrade.finish(image, faults, 0, noise).astype(float)

    assert (shown() == image).all()
    assert shown(contrast=0.5)[0, [0, 39], 0].tolist() == [50, 150]
    assert 60 < shown(defocus=3.0)[0, 19, 0] < 140
    assert shown(contrast=0.5, sigma=8.0).std() > shown(contrast=0.5).std()
    assert shown(contrast=0.5, sigma=8.0)[:, :15].std() == pytest.approx(8, abs=0.5)


def test_moving_object_is_blurred_along_its_motion_only_when_degraded():
    path = motion.Trajectory(np.array([[40.0, 30]]), np.zeros(1), np.ones(1), np.array([[12.0, 0]]))
    clip = clip_of(layers.Layer.along(square(), path, 1, 0))
    sharp, blurred = clip.render(0, degraded=False)[..., 2], clip.render(0)[..., 2]
    assert set(np.unique(sharp)) <= {0, 50, 100, 200}  # at half a pixel: its edges are grey, its corners darker
    assert ((blurred > 0).sum(1).max() - (sharp > 0).sum(1).max()) in (10, 11, 12, 13)
    assert ((blurred > 0).sum(0).max() - (sharp > 0).sum(0).max()) in (0, 1)


def test_clear_keeps_the_noise_and_ends_the_spells():
    faults = degrade.draw(np.random.default_rng(0), 200)
    found = degrade.clear(faults)
    assert (found.noise, found.grey) == (faults.noise, faults.grey)
    assert (found.exposure == degrade.SHUTTER).all() and (found.defocus == 0).all() and (found.contrast == 1).all()
    assert not (faults.exposure == degrade.SHUTTER).all()
