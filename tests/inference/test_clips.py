"""Clips one after another through the detectors that keep something from frame to frame."""

from __future__ import annotations

import pytest

from lib.errors import InputError
from tests import tiny
from tests.golden import same_clip


@pytest.fixture(params=["dff_rfcn", "fgfa_rfcn"])
def detector(request):
    """detector(batch) -> a new detector of the method."""
    cfg = tiny.settings(request.param, TEST={"KEY_FRAME_INTERVAL": {"dff_rfcn": 3, "fgfa_rfcn": 2}[request.param]})
    args, auxs = tiny.weights(cfg, request.param)
    return lambda batch=1: tiny.load(cfg, args, auxs, method=request.param, batch=batch)


def test_a_clip_that_goes_on_after_another_has_begun_is_refused(detector):
    detect = detector()
    first, second = detect(iter(tiny.clip(6))), detect(iter(tiny.clip(3)))
    next(first)
    next(second)
    with pytest.raises(RuntimeError, match="another clip was started"):
        next(first)
    assert len(list(second)) == 2


def test_clips_of_different_sizes_one_after_another(detector):
    run = detector(2)
    for number, (height, width) in enumerate([(48, 64), (64, 48), (40, 90), (48, 64), (96, 128)]):
        frames = tiny.clip(5, height, width, seed=number)
        same_clip(run(frames), list(detector(2)(frames)))


def test_a_clip_left_half_way_does_not_show_in_the_next(detector):
    run = detector()
    first = run(tiny.clip(9, seed=1))
    next(first), next(first)
    first.close()
    same_clip(run(tiny.clip(5)), list(detector()(tiny.clip(5))))


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("at", [1, 3, 4])
def test_a_change_of_size_within_a_clip_is_reported(detector, at, batch):
    frames = tiny.clip(at) + tiny.clip(2, 64, 48)
    with pytest.raises(InputError, match=rf"frame {at} of the clip is \(64, 48\) .*but earlier frames are \(48, 64\)"):
        list(detector(batch)(frames))


def test_no_frames_no_detections(detector):
    assert list(detector()([])) == []
