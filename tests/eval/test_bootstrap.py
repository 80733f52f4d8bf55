from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import InputError
from lib.eval.bootstrap import bootstrap, paired_bootstrap, sample_weights
from lib.eval.evaluation import evaluate
from lib.eval.outcomes import mean_over_classes
from lib.eval.ranges import MOTION
from tests.eval import reference
from tests.eval.reference import class_list, table_of, truth_of

BOX, OTHER = (100, 100, 199, 199), (300, 300, 349, 379)


def made_up(videos=4, frames=3, seed=0, skill=0.5):
    """Detections and frames of a small problem; no two scores are equal, so the order is unique."""
    rng = np.random.default_rng(seed)
    scores = iter(rng.permutation(100_000) / 100_000)
    found, truth = [], []
    for frame in range(1, videos * frames + 1):
        objects = [(int(rng.integers(1, 4)), box, float(rng.choice([0.3, 0.8, 1.0]))) for box in (BOX, OTHER)]
        objects = objects[: rng.integers(0, 3)]
        truth.append((frame, objects))
        for cls, box, _ in objects:
            if rng.random() < skill:
                found.append((frame, cls, float(next(scores)), box))
        for _ in range(rng.integers(0, 3)):
            x, y = rng.integers(0, 300, 2).tolist()
            found.append((frame, int(rng.integers(1, 4)), float(next(scores)), (x, y, x + 60, y + 60)))
    return found, truth


def evaluated(videos=4, frames=3, seed=0, **options):
    found, truth = made_up(videos, frames, seed, **options)
    return evaluate(table_of(found), truth_of(truth, frames), class_list(3))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(any))
def test_weights_are_copies_of_videos(seed, weights):
    found, truth = made_up(4, 3, seed)
    of_frame = np.repeat(weights, 3)  # frame ids are 1, 2, 3 ... in order
    repeated = [frame for frame, weight in zip(truth, of_frame) for _ in range(weight)]
    values = [entry[2] for _, objects in repeated for entry in (objects or [(0, 0, 0.0)])]
    expected = np.empty((4, 4, 3))
    for m, motion in enumerate(reference.MOTION):
        empty_share = sum(reference.inside(value, motion) for value in values) / len(values)
        for a, areas in enumerate(reference.AREA):
            rows = []
            for (frame_id, objects), weight in zip(truth, of_frame):
                of_this = [entry[1:] for entry in found if entry[0] == frame_id]
                counts = reference.frame_counts(of_this, objects, motion, areas, empty_share)
                rows += [(cls, score, weight * true, weight * false) for cls, score, true, false in counts]
            rows.sort(key=lambda row: -row[1])
            for c in range(3):
                objects = [box for _, entries in repeated for cls, box, value in entries
                           if cls == c + 1 and reference.inside(value, motion)]  # fmt: skip
                count = sum(reference.inside(reference.area(box), areas) for box in objects)
                expected[m, a, c] = reference.average_precision([row for row in rows if row[0] == c + 1], count)
    outcomes = evaluate(table_of(found), truth_of(truth, 3), class_list(3)).outcomes
    for same in (outcomes, outcomes.counting()):
        np.testing.assert_allclose(same.average_precision(weights), expected, rtol=0, atol=1e-9)


def test_weighted_average_precision_by_hand():
    # Two videos of a frame each: a hit at 0.9 in the first, a miss at 0.85 and a hit at 0.8 in the second.
    frames = [(1, [(1, BOX, 1.0)]), (2, [(1, BOX, 1.0)])]
    found = [(1, 1, 0.9, BOX), (2, 1, 0.85, OTHER), (2, 1, 0.8, BOX)]
    outcomes = evaluate(table_of(found), truth_of(frames, 1), class_list(1), motion_ranges=MOTION[3:]).outcomes
    assert outcomes.average_precision([1, 1])[0, 0, 0] == pytest.approx((1 + 2 / 3) / 2)
    assert outcomes.average_precision([1, 0])[0, 0, 0] == 1.0
    assert outcomes.average_precision([0, 2])[0, 0, 0] == pytest.approx(0.5)
    assert outcomes.average_precision([3, 1])[0, 0, 0] == pytest.approx((3 + 4 / 5) / 4)
    assert outcomes.average_precision([0, 0])[0, 0, 0] == -1


def test_empty_frames_count_the_fraction_of_the_sample():
    # A miss in a frame without objects counts the fraction of fast values in this sample, not in the whole set.
    frames = [(1, []), (2, [(1, BOX, 0.5)]), (3, [(1, BOX, 0.95)])]
    found = [(1, 1, 0.9, OTHER), (2, 1, 0.8, BOX)]
    outcomes = evaluate(table_of(found), truth_of(frames, 1), class_list(1)).outcomes
    assert outcomes.average_precision([1, 1, 1])[1, 0, 0] == pytest.approx(1 / (1 + 2 / 3))
    assert outcomes.average_precision([1, 1, 0])[1, 0, 0] == pytest.approx(1 / 2)


def test_intervals_contain_the_value_and_depend_on_the_seed():
    result = evaluated(12, 4)
    intervals = bootstrap(result, 300, 1)
    assert list(intervals) == ["all", "fast", "medium", "slow"]
    for r, interval in enumerate(intervals.values()):
        assert interval.value == result.mean[r, 0]
        assert 0 <= interval.low < interval.high <= 1
        assert interval.low <= interval.value <= interval.high
    assert bootstrap(result, 300, 1) == intervals
    assert bootstrap(result, 300, 2) != intervals
    assert bootstrap(result, 300, 1, area="small") != intervals


def test_intervals_are_percentiles_of_the_samples():
    result = evaluated(6, 3)
    means = [
        mean_over_classes(result.outcomes.average_precision(weights))[0, 0] for weights in sample_weights(6, 200, 5)
    ]
    low, high = np.percentile([mean for mean in means if mean >= 0], [2.5, 97.5])
    interval = bootstrap(result, 200, 5)["all"]
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))


def test_one_video_has_no_spread():
    interval = bootstrap(evaluated(1, 8), 20)["all"]
    assert interval.low == interval.high == pytest.approx(interval.value)


def test_no_objects_give_minus_one():
    result = evaluate(table_of([(1, 1, 0.5, BOX)]), truth_of([(1, [])]), class_list(2))
    assert bootstrap(result, 10)["all"] == type(bootstrap(result, 10)["all"])(-1.0, -1.0, -1.0)
    assert paired_bootstrap(result, result, 10).classes["all"] == {"class0": None, "class1": None}


def test_a_method_does_not_differ_from_itself():
    result = evaluated(8, 3)
    difference = paired_bootstrap(result, result, 50)
    assert dataclasses.astuple(difference.mean["all"])[:3] == (0.0, 0.0, 0.0)
    assert not difference.mean["all"].is_significant()


def test_pairing_shows_a_small_but_steady_gain():
    # B finds more objects than A: the paired interval excludes 0 although the separate intervals overlap.
    found, truth = made_up(20, 4, 3, skill=0.4)
    hits = {entry[0] for entry in found}
    more = [(i, objects[0][0], 0.995, objects[0][1]) for i, objects in truth if i not in hits and objects]
    first = evaluate(table_of(found), truth_of(truth, 4), class_list(3))
    second = evaluate(table_of(found + more), truth_of(truth, 4), class_list(3))
    difference = paired_bootstrap(first, second, 300)
    assert difference.mean["all"].low > 0
    assert difference.mean["all"].value == pytest.approx(second.mean[0, 0] - first.mean[0, 0])
    assert paired_bootstrap(second, first, 300).mean["all"].high < 0
    single = bootstrap(second, 300)["all"].low - bootstrap(first, 300)["all"].high
    assert single < difference.mean["all"].low
    assert difference.mean["all"].videos == 20 and difference.mean["all"].is_significant()
    for c, name in enumerate(first.classes.names):
        videos = {(frame - 1) // 4 for frame, objects in truth if any(cls == c + 1 for cls, *_ in objects)}
        assert difference.classes["all"][name].videos == len(videos)
        assert difference.classes["all"][name].value == pytest.approx(second.ap[0, 0, c] - first.ap[0, 0, c])


def test_results_of_different_tasks_are_rejected():
    first = evaluated(4, 3, 0)
    with pytest.raises(InputError, match="differ in their objects"):
        paired_bootstrap(first, evaluated(4, 3, 1), 5)
    with pytest.raises(InputError, match="differ in their videos"):
        paired_bootstrap(first, evaluated(5, 3, 0), 5)
    with pytest.raises(InputError, match="differ in their motion ranges"):
        paired_bootstrap(first, dataclasses.replace(first, motion_ranges=MOTION[::-1]), 5)
    with pytest.raises(InputError, match="differ in their classes"):
        paired_bootstrap(first, dataclasses.replace(first, classes=class_list(4)), 5)
    with pytest.raises(InputError, match="unknown area range 'huge'; choose from all, small, middle, large"):
        bootstrap(first, 5, area="huge")
    with pytest.raises(InputError, match="0 bootstrap samples"):
        bootstrap(first, 0)


def test_a_thousand_samples_of_sixty_videos_take_seconds():
    result = evaluated(60, 24)
    start = time.process_time()
    bootstrap(result, 1000)
    assert time.process_time() - start < 10
