"""What the importers share: boxes, tracks, names, splits."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.dataset.classes import ClassList
from lib.dataset.importing.clips import (
    EMPTY,
    OTHER,
    SourceObject,
    Video,
    class_list,
    edges_of,
    inclusive,
    plain_name,
    resolved,
    unique_names,
)
from lib.dataset.importing.write import held_out
from lib.errors import InputError

SIZES = {frame: (64, 48) for frame in range(9)}
EDGE = st.floats(-100, 200, width=32)


@pytest.mark.parametrize("edges, box", [
    ((0, 0, 64, 48), (0, 0, 63, 47)),  # the whole picture
    ((3, 4, 4, 5), (3, 4, 3, 4)),  # one pixel
    ((-9, 4, 2.5, 60), (0, 4, 1.5, 47)),  # across two borders
    ((63, 47, 99, 99), (63, 47, 63, 47)),  # its last pixel
    ((63.5, 0, 99, 9), None),  # half a pixel is left
    ((64, 0, 70, 9), None),  # beyond the border
    ((3, 3, 3, 9), None),  # no width
])  # fmt: skip
def test_boxes_by_hand(edges, box):
    assert inclusive(edges, 64, 48) == box


@settings(max_examples=200, deadline=None)
@given(EDGE, EDGE, EDGE, EDGE)
def test_boxes_are_inside_and_go_back_to_their_edges(left, top, width, height):
    edges = (left, top, left + abs(width), top + abs(height))
    box = inclusive(edges, 64, 48)
    clipped = [min(max(value, 0), limit) for value, limit in zip(edges, (64, 48, 64, 48))]
    if box is None:
        assert clipped[2] - clipped[0] < 1.001 or clipped[3] - clipped[1] < 1.001
    else:
        assert 0 <= box[0] <= box[2] <= 63 and 0 <= box[1] <= box[3] <= 47
        assert edges_of(box) == pytest.approx(clipped, abs=2e-3)  # three decimals
        assert inclusive(edges_of(box), 64, 48) == box


def tracks(*things):
    """Track numbers of things (frame, name, left, track), in order, 20 x 20 pixels each."""
    video = Video("v", None)
    for number, (frame, name, left, track) in enumerate(things):
        video.add(frame, SourceObject(name, (left, 0, left + 20, 20), track, f"line {number}"))
    found = resolved(video, SIZES, {"a": "a", "b": "b"}, Counter())
    return [each.track for frame in sorted(found) for each in found[frame]]


def test_track_numbers_by_hand():
    assert tracks((0, "a", 0, 5), (0, "b", 0, 2**31 - 1)) == [5, 2**31 - 1]  # kept
    assert tracks((0, "a", 0, 2**31), (1, "a", 0, 2**31)) == [0, 0]  # does not fit, so renumbered
    assert tracks((0, "a", 0, -3), (0, "a", 30, 1)) == [0, 1]
    assert tracks((0, "a", 0, None), (0, "a", 0, 0), (0, "a", 0, 1)) == [
        2,
        0,
        1,
    ]  # no track: an unused number


def test_links_by_hand():
    assert tracks((0, "a", 0, None), (1, "a", 4, None), (2, "a", 8, None)) == [0, 0, 0]
    assert tracks((0, "a", 0, None), (1, "b", 0, None)) == [0, 1]  # another class
    assert tracks((0, "a", 0, None), (2, "a", 0, None)) == [0, 1]  # a frame between
    assert tracks((0, "a", 0, None), (1, "a", 11, None)) == [0, 1]  # 9 of 31 columns are shared: 0.29
    assert tracks((0, "a", 0, None), (1, "a", 10, None)) == [0, 0]  # 10 of 30: 0.33
    # the larger overlap goes first, and each is joined once
    assert tracks((0, "a", 0, None), (1, "a", 8, None), (1, "a", 2, None)) == [0, 1, 0]


def test_what_is_left_out_is_counted():
    video = Video("v", None)
    video.add(0, SourceObject("a", (0, 0, 9, 9), 1, "x"))
    video.add(0, SourceObject("b", (0, 0, 9, 9), 2, "x"))
    video.add(1, SourceObject("a", (0, 0, 0, 9), 1, "x"))
    dropped = Counter()
    found = resolved(video, SIZES, {"a": "id"}, dropped)
    assert [each.class_id for each in found[0]] == ["id"] and 1 not in found
    assert dropped == {EMPTY: 1, OTHER: 1}


def test_names():
    assert plain_name(" a b/c\\d ") == "a_b_c_d" and plain_name("#x") == "x" and plain_name("..") == "_"
    assert plain_name("Fußgänger-2.5") == "Fußgänger-2.5" and plain_name("a\ud800<b>") == "a_b"
    assert unique_names(["a b", "a", "a b"], "videos", "x") == {"a b": "a_b", "a": "a"}
    with pytest.raises(InputError, match="x: videos 'a b' and 'a/b' would both become a_b; rename one"):
        unique_names(["a b", "a/b"], "videos", "x")


def test_class_lists():
    classes, ids = class_list(["red car", "dog"], None, "x")
    assert classes.ids == classes.names == ["red_car", "dog"] and ids == {"red car": "red_car", "dog": "dog"}
    given_list = ClassList(["n1", "n2", "n3"], ["dog", "red_car", "cat"], [(0, 0, 0)] * 3)
    classes, ids = class_list(["red car", "n1", "bird"], given_list, "x")
    assert classes is given_list and ids == {"red car": "n2", "n1": "n1"}
    with pytest.raises(InputError, match=r"--classes: none of the classes of x is listed \(bird\)"):
        class_list(["bird"], given_list, "x")
    with pytest.raises(InputError, match="x: contains no classes"):
        class_list([], None, "x")


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.floats(0.001, 0.999), st.integers(0, 99))
def test_some_are_held_out_and_some_are_not(count, share, seed):
    names = [f"v{number}" for number in range(count)]
    val = held_out(names, share, seed)
    assert val == held_out(names[::-1], share, seed) and val < set(names)
    assert len(val) == min(max(round(share * count), 1), count - 1)


def test_none_are_held_out():
    assert held_out(["a"], 0, 0) == set()
    with pytest.raises(InputError, match="only one video: none can be held out for testing; give at least two"):
        held_out(["a"], 0.2, 0)
