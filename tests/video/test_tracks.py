from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.bbox.detections import Detections
from lib.video.tracks import PATIENCE, Tracker

CAT, DOG = 1, 2


def frame(*objects: tuple[int, float]) -> Detections:
    """(class, x1) of boxes 40 pixels wide and high, in a row; shifted by x their IoU is (40 - x) / (40 + x)."""
    boxes = np.array([[x, 10, x + 39, 49] for _, x in objects], np.float32).reshape(-1, 4)
    return Detections(boxes, np.full(len(objects), 0.9, np.float32), np.array([cls for cls, _ in objects], np.int32))


def numbers(frames) -> list[list[int]]:
    tracker = Tracker()
    return [tracker(each).tracks.tolist() for each in frames]


def test_objects_of_two_classes_pass_through_each_other():
    frames = [frame((CAT, 10 * i), (DOG, 100 - 10 * i)) for i in range(11)]
    assert numbers(frames) == [[1, 2]] * 11


def test_objects_of_one_class_pass_each_other_at_their_pace():
    """At the frame where they meet the boxes are the same; before and behind it their paths tell."""
    frames = [frame((CAT, 8 * i), (CAT, 100 - 8 * i)) for i in range(14)]
    assert numbers(frames)[:6] == [[1, 2]] * 6 and numbers(frames)[8:] == [[1, 2]] * 6


def test_overlap_of_a_half_goes_on_and_less_begins_a_track():
    """Shifted by a third of its width a box has an IoU of (1 - 1/3) / (1 + 1/3) = 0.5."""
    boxes = np.array([[[0, 0, 29, 29]], [[10, 0, 39, 29]], [[0, 0, 29, 29]], [[11, 0, 40, 29]]], np.float32)
    found = [Detections(box, np.ones(1, np.float32), np.ones(1, np.int32)) for box in boxes]
    assert numbers(found[:2]) == [[1], [1]]
    assert numbers(found[2:]) == [[1], [2]]


def test_largest_sum_of_overlaps_decides():
    """The first of the old boxes overlaps both new ones best in the second, which alone goes on with the other."""
    assert numbers([frame((CAT, 0), (CAT, 10)), frame((CAT, -6), (CAT, 4))]) == [[1, 2], [1, 2]]


def test_gap_of_two_frames_in_motion():
    """Without its velocity a box 39 pixels further would not be found again."""
    seen = [frame((CAT, 13 * i)) for i in range(6)]
    empty = frame()
    assert numbers([*seen, empty, empty, frame((CAT, 13 * 8))]) == [[1]] * 6 + [[], [], [1]]
    assert numbers([seen[5], empty, empty, frame((CAT, 13 * 8))]) == [[1], [], [], [2]]


def test_patience_ends():
    there, empty = frame((CAT, 0)), frame()
    assert numbers([there, *[empty] * PATIENCE, there])[-1] == [1]
    assert numbers([there, *[empty] * (PATIENCE + 1), there])[-1] == [2]


def test_new_objects_get_new_numbers_and_old_ones_are_not_given_again():
    gone = [frame()] * (PATIENCE + 1)
    frames = [frame((CAT, 0)), frame((CAT, 0), (DOG, 0), (DOG, 200)), *gone, frame((CAT, 0), (DOG, 0))]
    assert [each for each in numbers(frames) if each] == [[1], [1, 2, 3], [4, 5]]


def test_the_tracker_only_adds_tracks():
    found = Detections(
        np.array([[0, 0, 9, 9], [50, 0, 59, 9]], np.float32), np.array([0.4, 0.9], np.float32), np.int32([1, 2]),
        class_names=("cat", "dog"),
    )  # fmt: skip
    tracked = Tracker()(found)
    assert found.tracks is None and tracked.tracks.tolist() == [1, 2] and tracked.tracks.dtype == np.int32
    for name in ("boxes", "scores", "classes", "class_names"):
        assert getattr(tracked, name) is getattr(found, name)
    sure = tracked.above(0.5)
    assert sure.tracks.tolist() == [2] and sure.classes.tolist() == [2] and sure.names == ["dog"]


clips = st.lists(
    st.lists(st.tuples(st.sampled_from([CAT, DOG]), st.integers(0, 300)), max_size=5), min_size=1, max_size=30
)


@settings(max_examples=60, deadline=None)
@given(clips, st.integers(0, 30))
def test_numbers_are_unique_in_a_frame_of_one_class_and_the_same_when_gone_on_with(clip, cut):
    frames = [frame(*objects) for objects in clip]
    whole, first, second = Tracker(), Tracker(), Tracker()
    expected, classes = [whole(each) for each in frames], {}
    for each in expected:
        assert len(set(each.tracks.tolist())) == len(each)
        for number, cls in zip(each.tracks.tolist(), each.classes.tolist()):
            assert classes.setdefault(number, cls) == cls
    assert sorted(classes) == list(range(1, len(classes) + 1))
    for each in frames[:cut]:
        second.follow(first(each))
    for each, tracked in zip(frames[cut:], expected[cut:]):
        assert second(each).tracks.tolist() == tracked.tracks.tolist()


def test_memory_holds_the_tracks_that_last():
    tracker = Tracker()
    for i in range(300):
        tracker(frame((CAT, 1000 * i)))
    assert len(tracker._tracks) == PATIENCE + 1


def test_low_scores_continue_tracks_but_start_none():
    def frame(*rows):
        """Rows are (left, score)."""
        boxes = np.array([[left, 0, left + 19, 19] for left, _ in rows], np.float32).reshape(-1, 4)
        return Detections(boxes, np.float32([score for _, score in rows]), np.ones(len(rows), np.int32))

    tracker = Tracker(start=0.5)
    assert tracker(frame((0, 0.9), (60, 0.3))).tracks.tolist() == [1]  # the faint one starts no track and is left out
    second = tracker(frame((1, 0.2), (60, 0.9)))
    assert second.tracks.tolist() == [1, 2] and second.scores.tolist() == pytest.approx([0.2, 0.9])
    # A certain box has precedence, although the faint one overlaps more.
    third = tracker(frame((4, 0.6), (2, 0.4), (60, 0.5)))
    assert third.tracks.tolist() == [1, 2] and third.boxes[:, 0].tolist() == [4, 60]
