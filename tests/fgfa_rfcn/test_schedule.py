"""Which frames the features of a frame come from, and which pairs pass through the flow network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgfa_rfcn.flows import pairs_at_once
from fgfa_rfcn.schedule import LEFT_OUT, Schedule
from tests import tiny


def schedule(reach, duration=1, *, causal=False, ends="repeat"):
    test = {"KEY_FRAME_INTERVAL": reach, "KEY_FRAME_DURATION": duration, "causal": causal, "CLIP_ENDS": ends}
    return Schedule.of(tiny.settings(TEST=test).TEST)


def test_windows_at_the_ends_of_a_clip():
    first, middle, last = np.array([0]), np.array([3]), np.array([6])
    assert schedule(2).windows(last, 7).tolist() == [[4, 5, 6, 6, 6]]
    assert schedule(2, ends="shorten").windows(first, 7).tolist() == [[LEFT_OUT, LEFT_OUT, 0, 1, 2]]
    assert schedule(2, causal=True).windows(first, 7).tolist() == [[0, 0, 0]]
    assert schedule(7, 3).windows(middle, 8).tolist() == [[0, 0, 3, 6, 6]]
    assert schedule(7, 3, ends="shorten").windows(last, 9).tolist() == [[0, 3, 6, LEFT_OUT, LEFT_OUT]]


def test_the_shares_of_key_frames():
    """Frames 4 to 7 of 8, of which 0, 4 are key frames: after the last one, only it counts."""
    keys, shares = schedule(9, 4).keys(np.arange(9), 9)
    assert keys[:, :5].tolist() == [[0, 0, 0, 0, 4], [0, 4, 4, 4, 4]]
    assert shares[:, :5].tolist() == [[1, 0.75, 0.5, 0.25, 1], [0, 0.25, 0.5, 0.75, 0]]
    keys, shares = schedule(9, 4).keys(np.array([5, 7]), 8)
    assert keys.tolist() == [[4, 4], [4, 4]] and shares.tolist() == [[1, 1], [0, 0]]
    keys, shares = schedule(9, 4, causal=True).keys(np.arange(3, 6), 9)
    assert keys.tolist() == [[0, 4, 4]] and shares.tolist() == [[1, 1, 1]]


def test_replay_starts_at_a_key_frame():
    assert [schedule(2).replay(done) for done in (0, 1, 9)] == [0, 1, 2]
    assert [schedule(7, 3).replay(done) for done in (1, 5, 9, 10, 11)] == [1, 5, 6, 7, 8]


@pytest.mark.parametrize("ends", ["repeat", "shorten"])
@given(st.integers(0, 9), st.integers(1, 6), st.booleans(), st.integers(1, 4), st.integers(1, 40))
def test_what_is_needed_has_been_read_and_is_still_kept(ends, reach, duration, causal, batch, length):
    """In a clip read `batch` frames at a time, as `VideoDetector` does."""
    plan = schedule(reach, duration, causal=causal, ends=ends)
    done, oldest_key = 0, 0
    for read in (*range(batch, length, batch), length):
        while done < read and (read == length or plan.needs(min(done + batch, length) - 1) < read):
            frames = np.arange(done, min(done + batch, length))
            keys, shares = plan.keys(frames, read)
            np.testing.assert_allclose(shares.sum(axis=0), 1)
            fresh = np.arange(oldest_key, keys.max() + 1, duration)
            windows = plan.windows(fresh, read)
            used = [*frames, *keys.ravel(), *windows[windows != LEFT_OUT]]
            assert max(used) < read and min(used) >= read - plan.frames_kept(batch)
            assert np.array_equal(keys, plan.keys(frames, length)[0])  # what follows changes nothing
            assert np.array_equal(windows, plan.windows(fresh, length))
            distances = [*np.abs(keys - frames).ravel()]
            distances += [*np.abs(np.where(windows == LEFT_OUT, fresh[:, None], windows) - fresh[:, None]).ravel()]
            assert max(distances) <= plan.longest
            oldest_key = max(oldest_key, int(keys.max()) + duration)
            done += len(frames)
    assert done == length


@given(st.integers(1, 500))
def test_few_pairs_go_through_the_flow_network_twice(pairs):
    step = pairs_at_once(pairs)
    assert 1 <= step <= 8 and -pairs % step <= 3
    assert step == pairs or pairs > 8
