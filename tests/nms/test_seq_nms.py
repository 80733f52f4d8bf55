from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.nms.seq_nms import seq_nms

GOLDEN = Path(__file__).parents[1] / "data" / "seq_nms_short.npz"
A = (0, 0, 99, 99)
A_HALF = (0, 0, 99, 49)  # IoU 0.5 with A
A_THIRD = (0, 0, 99, 29)  # IoU 0.3 with A
B = (300, 0, 399, 99)


def rows(*entries):
    return np.array([[*box, score] for box, score in entries], np.float64).reshape(-1, 5)


def scores(frames):
    return [frame[:, 4].tolist() for frame in frames]


def split(flat, counts):
    ends = np.cumsum(counts.ravel())[:-1]
    frames = iter(np.split(flat, ends))
    return [[next(frames) for _ in row] for row in counts]


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def plain(frames, link=0.5, suppress=0.3, min_sum=0.01):
    """One class in plain Python; everything is recomputed after each path."""
    frames = [frame.copy() for frame in frames]
    links = {
        ((t, i), (t + 1, j))
        for t in range(len(frames) - 1)
        for i in range(len(frames[t]))
        for j in range(len(frames[t + 1]))
        if iou(frames[t][i], frames[t + 1][j]) >= link
    }
    alive = [(t, i) for t, frame in enumerate(frames) for i in range(len(frame))]
    gone = set()
    while any(a in alive and b in alive for a, b in links):
        total, parent = {}, {}
        for t, i in alive:
            total[t, i], parent[t, i] = frames[t][i][4], None
            for before in alive:
                if (before, (t, i)) in links and total[before] + frames[t][i][4] > total[t, i]:
                    total[t, i], parent[t, i] = total[before] + frames[t][i][4], before
        end = max(alive, key=lambda box: (total[box], -box[0], -box[1]))
        if total[end] < min_sum:
            break
        path = [end]
        while parent[path[-1]]:
            path.append(parent[path[-1]])
        lost = {(t, j) for t, i in path for s, j in alive if s == t and iou(frames[t][i], frames[t][j]) >= suppress}
        gone |= lost - set(path)
        for t, i in path:
            frames[t][i][4] = total[end] / len(path)
        alive = [box for box in alive if box not in lost]
    return [np.delete(frame, [i for s, i in gone if s == t], axis=0) for t, frame in enumerate(frames)]


def test_golden_case_to_1e_9():
    data = np.load(GOLDEN, allow_pickle=False)
    result = seq_nms(split(data["rows_in"], data["counts_in"]))
    expected = split(data["rows_out"], data["counts_out"])
    assert [[len(frame) for frame in frames] for frames in result] == data["counts_out"].tolist()
    for frames, others in zip(result, expected):
        for frame, other in zip(frames, others):
            order, other_order = np.lexsort(frame.T), np.lexsort(other.T)
            np.testing.assert_allclose(frame[order], other[other_order], rtol=0, atol=1e-9)


def test_a_linked_path_gets_its_mean():
    assert scores(seq_nms([[rows((A, 0.9)), rows((A, 0.3)), rows((A, 0.6))]])[0]) == [pytest.approx([0.6])] * 3


def test_links_need_an_iou_of_one_half():
    assert scores(seq_nms([[rows((A, 0.9)), rows((A_HALF, 0.3))]])[0]) == [pytest.approx([0.6])] * 2
    below = (0, 0, 99, 48)
    assert scores(seq_nms([[rows((A, 0.9)), rows((below, 0.3))]])[0]) == [[0.9], [0.3]]
    assert scores(seq_nms([[rows((A, 0.9)), rows((below, 0.3))]], link_iou=0.4)[0]) == [pytest.approx([0.6])] * 2


def test_boxes_that_overlap_the_path_by_0_3_are_removed():
    result = seq_nms([[rows((A, 0.9), (A_THIRD, 0.2)), rows((A, 0.9), (A_THIRD, 0.2))]])[0]
    assert scores(result) == [[0.9], [0.9]]
    below = (0, 0, 99, 28)
    result = seq_nms([[rows((A, 0.9), (below, 0.2)), rows((A, 0.9), (below, 0.4))]])[0]
    assert scores(result) == [pytest.approx([0.9, 0.3])] * 2


def test_a_box_without_links_is_a_path_of_one():
    """The published rule, in cases where a rule for linked boxes only would differ.

    `lonely` overlaps A by IoU 0.7 (7000 / 10000 pixels). It shares 2000 pixels with A_HALF of the next frame, an IoU
    of 2000 / (7000 + 5000 - 2000) = 0.2, so it has no link. The only link is A - A_HALF (IoU 0.5).
    """
    lonely = (0, 30, 99, 99)
    assert (iou(lonely, A), iou(lonely, A_HALF), iou(A, A_HALF)) == (0.7, 0.2, 0.5)
    # The path A - A_HALF has the sum 0.9 + 0.5 = 1.4 > 0.95, so it is taken first and gets 1.4 / 2 = 0.7. It removes
    # `lonely`, which would keep 0.95 if it took no part.
    result = seq_nms([[rows((A, 0.9), (lonely, 0.95)), rows((A_HALF, 0.5))]])[0]
    assert scores(result) == [pytest.approx([0.7]), pytest.approx([0.7])]
    # The path A - A_HALF has the sum 0.5 + 0.4 = 0.9 < 0.95, so `lonely` is taken first, keeps 0.95 / 1 and removes A
    # with the only link. A_HALF remains and keeps 0.4. If `lonely` took no part, A and A_HALF would both get 0.45.
    result = seq_nms([[rows((A, 0.5), (lonely, 0.95)), rows((A_HALF, 0.4))]])[0]
    assert [frame.tolist() for frame in result] == [[[*lonely, 0.95]], [[*A_HALF, 0.4]]]


def test_boxes_left_without_links_do_not_suppress_each_other():
    # The path of B (sum 0.8) takes the last link; then the loop ends before A (0.7) could remove A_HALF.
    result = seq_nms([[rows((A, 0.7), (A_HALF, 0.6), (B, 0.4)), rows((B, 0.4))]])[0]
    assert scores(result) == [[0.7, 0.6, 0.4], [0.4]]


def test_a_box_that_lost_its_links_is_a_path_of_one():
    # The path through A removes A_HALF of frame 1, the only box linked to that of frame 2; the link of B is left.
    frames = [
        rows((A, 0.9), (B, 0.1)),
        rows((A, 0.9), (A_HALF, 0.2), (B, 0.1)),
        rows(((0, 0, 99, 24), 0.3)),
    ]
    assert iou(A_HALF, frames[2][0]) == 0.5
    result = seq_nms([frames])[0]
    assert scores(result) == [pytest.approx([0.9, 0.1]), pytest.approx([0.9, 0.1]), [0.3]]


def test_the_first_of_equal_sums_is_taken():
    # Both boxes of frame 1 could extend the path; the first does, the second is suppressed.
    result = seq_nms([[rows((A, 0.5)), rows((A, 0.5), (A_HALF, 0.5))]])[0]
    assert result[1].tolist() == [[*A, 0.5]]
    # Two predecessors with the same score: the first.
    result = seq_nms([[rows((A_HALF, 0.5), (A, 0.5)), rows((A, 0.7))]])[0]
    assert result[0].tolist() == [[*A_HALF, 0.6]]


def test_a_predecessor_must_increase_the_sum():
    result = seq_nms([[rows((A, 0.0)), rows((A, 0.8)), rows((A, 0.4))]])[0]
    assert scores(result) == [[0.0], pytest.approx([0.6]), pytest.approx([0.6])]


def test_it_stops_below_the_minimum_sum():
    weak = [rows((A, 0.004)), rows((A, 0.005))]
    assert scores(seq_nms([weak])[0]) == [[0.004], [0.005]]
    assert scores(seq_nms([weak], min_sum=0.009)[0]) == [pytest.approx([0.0045])] * 2


def test_one_frame_no_frame_empty_frames_no_class():
    assert scores(seq_nms([[rows((A, 0.9), (A_HALF, 0.8))]])[0]) == [[0.9, 0.8]]
    assert seq_nms([]) == []
    assert seq_nms([[], []]) == [[], []]
    gap = seq_nms([[rows((A, 0.9)), np.zeros((0, 5)), rows((A, 0.3)), rows((A, 0.5))], [np.zeros(0)] * 4])
    assert scores(gap[0]) == [[0.9], [], pytest.approx([0.4]), pytest.approx([0.4])]
    assert [frame.shape for frame in gap[1]] == [(0, 5)] * 4


def test_the_input_is_unchanged():
    frames = [rows((A, 0.9)), rows((A, 0.3))]
    seq_nms([frames])
    assert scores(frames) == [[0.9], [0.3]]


def test_the_final_nms_removes_only_above_the_threshold():
    frame = rows((A_THIRD, 0.8), (A, 0.9), ((0, 0, 99, 30), 0.7))
    assert scores(seq_nms([[frame]], nms_iou=0.3)[0]) == [[0.8, 0.9]]
    result = seq_nms([[rows((A, 0.5), (A, 0.5), (B, 0.9))]], nms_iou=0.3)[0]
    assert result[0].tolist() == [[*A, 0.5], [*B, 0.9]]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([rows((A, 0.5)), rows((B, 0.1), ((50, 0, 40, 10), 0.5))], r"dets\[0\]\[1\] row 1: an inverted box"),
        ([rows(((0, 50, 10, 40), 0.5))], r"dets\[0\]\[0\] row 0: an inverted box"),
        ([rows((A, float("nan")))], r"row 0: a value that is not finite"),
        ([np.zeros((2, 4))], r"dets\[0\]\[0\] has shape \(2, 4\), not \(N, 5\)"),
    ],
)
def test_invalid_input_is_rejected(frames, message):
    with pytest.raises(ValueError, match=message):
        seq_nms([frames])


def test_classes_must_have_the_same_frames():
    with pytest.raises(ValueError, match=r"differ in their number of frames: \[1, 2\]"):
        seq_nms([[rows((A, 0.5))], [rows((A, 0.5))] * 2])


@st.composite
def videos(draw):
    def frame():
        count = draw(st.integers(0, 5))
        entries = []
        for _ in range(count):
            x, y, w, h = (draw(st.integers(0, 4)) for _ in range(4))
            entries.append(((8 * x, 8 * y, 8 * x + 20 + 10 * w, 8 * y + 20 + 10 * h), draw(st.integers(0, 16)) / 16))
        return rows(*entries)

    return [frame() for _ in range(draw(st.integers(1, 6)))]


@settings(max_examples=150, deadline=None)
@given(videos())
def test_equal_to_the_plain_reference(frames):
    for frame, other in zip(seq_nms([frames])[0], plain(frames)):
        np.testing.assert_allclose(frame, other, rtol=0, atol=1e-12)


def tracks(frame_count, boxes, seed=0):
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 500, (boxes, 2)) + rng.normal(0, 4, (frame_count, boxes, 2))
    size = rng.uniform(15, 75, (boxes, 2))
    score = rng.random((frame_count, boxes, 1))
    return list(np.concatenate([centre - size, centre + size, score], axis=2))


def test_ten_times_the_frames_cost_about_ten_times_as_much():
    seconds = []
    for count in (300, 3000):
        frames = tracks(count, 28)
        runs = []
        for _ in range(3):
            start = time.process_time()
            seq_nms([frames])
            runs.append(time.process_time() - start)
        seconds.append(min(runs))
    assert seconds[1] < 30 * seconds[0]
