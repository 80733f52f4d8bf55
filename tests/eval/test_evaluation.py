from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.dataset.classes import ClassList
from lib.errors import InputError
from lib.eval.detections import DetectionTable, read_detections
from lib.eval.evaluation import evaluate
from lib.eval.ranges import Range
from lib.eval.truth import load_truth
from tests.eval import reference
from tests.eval.reference import CASE, class_list, table_of, truth_of

BOX = (100, 100, 199, 199)  # 100 x 100
FAR = (400, 400, 499, 499)


def ap(detections, frames, classes=2, **options):
    return evaluate(table_of(detections), truth_of(frames), class_list(classes), **options).ap


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    annotations = reference.unpack_annotations(tmp_path_factory.mktemp("case"))
    classes = ClassList.builtin("ImageNetVID")
    expected = json.loads((CASE / "expected.json").read_text())
    assert classes.ids == expected["classes"]
    return annotations, classes, expected["main"]


@pytest.mark.parametrize("motion", ["motion_iou.json", "motion_iou.mat"])
def test_golden_case_to_1e_9(golden, motion):
    annotations, classes, expected = golden
    truth = load_truth(annotations, CASE / "imageset.txt", classes, motion_file=CASE / motion, progress=False)
    result = evaluate(read_detections([CASE / "det_all.txt"], len(classes)), truth, classes)
    np.testing.assert_allclose(result.ap, expected["ap"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.mean, expected["mean_ap_over_nonnegative"], rtol=0, atol=1e-9)
    plain = np.array([-1 if value is None else value for value in expected["plain_ap"]])
    has_objects = result.objects[0, 0] > 0
    np.testing.assert_allclose(result.ap[0, 0][has_objects], plain[has_objects], rtol=0, atol=1e-9)
    assert result.unknown_frames == 2


def test_a_perfect_detection_has_ap_one_and_other_classes_are_left_out_of_the_mean():
    result = evaluate(table_of([(7, 1, 0.9, BOX)]), truth_of([(7, [(1, BOX, 1.0)])]), class_list(2))
    assert result.ap[0, 0].tolist() == [1.0, -1.0]
    assert result.mean[0, 0] == 1.0


def test_precision_is_interpolated_from_the_right():
    # Hits at ranks 1 and 4 of two objects: precision 1 and 1/2.
    frames = [(1, [(1, BOX, 1.0), (1, FAR, 1.0)])]
    miss = (100, 400, 199, 499)
    found = [(1, 1, 0.9, BOX), (1, 1, 0.8, BOX), (1, 1, 0.7, BOX), (1, 1, 0.6, FAR), (1, 1, 0.5, miss)]
    assert ap(found, frames)[0, 0, 0] == pytest.approx(0.5 * 1 + 0.5 * 0.5)


def test_the_threshold_of_small_objects_is_lower():
    small = (100, 100, 109, 109)  # 10 x 10: threshold 100 / 400
    half = (100, 100, 109, 102)  # IoU 0.3
    assert ap([(1, 1, 0.9, half)], [(1, [(1, small, 1.0)])])[0, 0, 0] == 1.0
    quarter = (100, 100, 104, 104)  # IoU 0.25 exactly
    assert ap([(1, 1, 0.9, quarter)], [(1, [(1, small, 1.0)])])[0, 0, 0] == 1.0
    less = (100, 100, 109, 101)  # IoU 0.2
    assert ap([(1, 1, 0.9, less)], [(1, [(1, small, 1.0)])])[0, 0, 0] == 0.0


def test_iou_of_exactly_half_is_enough_for_large_objects():
    half, below = (100, 100, 199, 149), (100, 100, 199, 148)
    assert ap([(1, 1, 0.9, half)], [(1, [(1, BOX, 1.0)])])[0, 0, 0] == 1.0
    assert ap([(1, 1, 0.9, below)], [(1, [(1, BOX, 1.0)])])[0, 0, 0] == 0.0


def test_the_best_overlap_wins_and_the_first_object_on_a_tie():
    near = (102, 100, 201, 199)
    slow_and_fast = [(1, [(1, near, 0.95), (1, BOX, 0.5)])]
    result = ap([(1, 1, 0.9, BOX)], slow_and_fast)
    assert result[1, 0, 0] == 1.0  # the fast object has the larger IoU
    assert result[3, 0, 0] == 0.0
    twins = [(1, [(1, BOX, 0.95), (1, BOX, 0.5)])]
    result = ap([(1, 1, 0.9, BOX)], twins)
    assert result[3, 0, 0] == 1.0
    assert result[1, 0, 0] == 0.0


def test_an_object_is_matched_once():
    # The second detection of the object is a false positive before the second object is found.
    frames = [(1, [(1, BOX, 1.0), (1, FAR, 1.0)])]
    found = [(1, 1, 0.9, BOX), (1, 1, 0.8, BOX), (1, 1, 0.7, FAR)]
    assert ap(found, frames)[0, 0, 0] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_another_class_does_not_match():
    assert ap([(1, 2, 0.9, BOX)], [(1, [(1, BOX, 1.0)])])[0, 0].tolist() == [0.0, -1.0]


def test_a_detection_matched_to_an_object_out_of_range_does_not_count():
    frames = [(1, [(1, BOX, 0.95)]), (2, [(1, BOX, 0.5)])]
    result = ap([(1, 1, 0.9, BOX), (2, 1, 0.8, BOX)], frames)
    assert result[1, 0, 0] == 1.0
    assert result[3, 0, 0] == 1.0


def test_bounds_are_inclusive_at_both_ends():
    frames = [(1, [(1, (0, 0, 49, 49), 0.7)])]  # 2500 pixels: small and middle; 0.7: fast and medium
    result = ap([(1, 1, 0.9, (0, 0, 49, 49))], frames)
    assert result[:, :, 0].tolist() == [[1, 1, 1, -1], [1, 1, 1, -1], [1, 1, 1, -1], [-1, -1, -1, -1]]


def test_an_unmatched_detection_whose_area_is_out_of_range_is_ignored():
    frames = [(1, [(1, (0, 0, 29, 29), 1.0)])]
    found = [(1, 1, 0.9, FAR), (1, 1, 0.8, (0, 0, 29, 29))]
    result = ap(found, frames)
    assert result[0, 0, 0] == 0.5
    assert result[0, 1, 0] == 1.0  # small objects: FAR has 100 x 100 pixels


@pytest.mark.parametrize(
    ("motions", "expected_fast"),
    [
        # The miss overlaps most with: the kept object (a false positive), the ignored one (none).
        (((0.5, 0.95)), 0.5),
        (((0.95, 0.5)), 1.0),
    ],
)
def test_a_miss_belongs_to_the_object_it_overlaps_most(motions, expected_fast):
    beside = (160, 100, 259, 199)  # IoU 0.25 with BOX
    frames = [(1, [(2, BOX, motions[0]), (2, FAR, motions[1])]), (2, [(1, BOX, 0.5)])]
    found = [(1, 1, 0.9, beside), (2, 1, 0.8, BOX)]
    assert ap(found, frames)[1, 0, 0] == pytest.approx(expected_fast)


def test_a_miss_that_overlaps_nothing_counts_the_fraction_of_ignored_objects():
    away = (0, 0, 39, 39)
    frames = [(1, [(2, BOX, 0.95), (2, FAR, 0.5), (2, FAR, 0.8)]), (2, [(1, BOX, 0.5)])]
    found = [(1, 1, 0.9, away), (2, 1, 0.8, BOX)]
    result = ap(found, frames)
    assert result[1, 0, 0] == pytest.approx(1 / (1 + 2 / 3))  # two of three are not fast


def test_a_miss_in_a_frame_of_only_ignored_objects_does_not_count():
    frames = [(1, [(2, BOX, 0.95)]), (2, [(1, BOX, 0.5)])]
    assert ap([(1, 1, 0.9, (0, 0, 39, 39)), (2, 1, 0.8, BOX)], frames)[1, 0, 0] == 1.0


def test_a_miss_in_a_frame_without_objects_counts_the_fraction_of_motion_values_in_range():
    frames = [(1, []), (2, [(1, BOX, 0.5), (2, BOX, 0.95), (2, FAR, 0.8)])]
    result = ap([(1, 1, 0.9, FAR), (2, 1, 0.8, BOX)], frames)
    assert result[1, 0, 0] == pytest.approx(1 / (1 + 2 / 4))  # 0 (the empty frame) and 0.5 of four values
    assert result[0, 0, 0] == pytest.approx(1 / 2)


def test_ties_keep_the_order_of_the_image_set_then_of_the_file():
    frames = [(9, [(1, BOX, 1.0)]), (3, [(1, BOX, 1.0)])]
    hit, miss = (9, 1, 0.5, BOX), (3, 1, 0.5, FAR)
    assert ap([miss, hit], frames)[0, 0, 0] == 0.5  # frame 9 comes first in the set
    frame = [(9, [(1, BOX, 1.0)])]
    first_wide, second_exact = (9, 1, 0.5, (100, 100, 199, 189)), (9, 1, 0.5, BOX)
    assert ap([first_wide, second_exact], frame)[0, 0, 0] == 1.0
    two = [(9, [(1, BOX, 1.0), (2, BOX, 1.0)]), (3, [(1, FAR, 1.0)])]
    assert ap([(9, 1, 0.5, FAR), (9, 1, 0.5, BOX), (3, 1, 0.5, FAR)], two)[0, 0, 0] == pytest.approx(2 / 3)


def test_detections_of_unknown_frames_are_ignored_and_counted():
    result = evaluate(table_of([(8, 1, 0.99, FAR), (7, 1, 0.9, BOX)]), truth_of([(7, [(1, BOX, 1.0)])]), class_list(1))
    assert result.ap[0, 0, 0] == 1.0
    assert result.unknown_frames == 1


def test_no_detection_gives_zero_and_no_object_gives_minus_one():
    result = evaluate(DetectionTable.empty(), truth_of([(7, [(1, BOX, 1.0)])]), class_list(2))
    assert result.ap[0, 0].tolist() == [0.0, -1.0]
    nothing = evaluate(table_of([(7, 1, 0.9, BOX)]), truth_of([(7, []), (8, [])]), class_list(2))
    assert (nothing.ap == -1).all()
    assert (nothing.mean == -1).all()
    assert (evaluate(DetectionTable.empty(), truth_of([]), class_list(2)).mean == -1).all()


def test_a_class_outside_the_list_is_rejected():
    with pytest.raises(ValueError, match=r"classes 3\.\.3, expected 1\.\.2"):
        ap([(7, 3, 0.9, BOX)], [(7, [(1, BOX, 1.0)])])


def test_custom_and_invalid_ranges():
    result = ap([(1, 1, 0.9, BOX)], [(1, [(1, BOX, 0.3)])], motion_ranges=[Range("odd", 0.2, 0.4)])
    assert result.shape == (1, 4, 2)
    assert result[0, 0, 0] == 1.0
    with pytest.raises(InputError, match="a name occurs twice"):
        ap([], [], motion_ranges=[Range("odd", 0.2, 0.4)] * 2)
    with pytest.raises(InputError, match="0 area ranges"):
        ap([], [], area_ranges=[])


BOXES = st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 40)] * 2).map(
    lambda b: (4 * b[0], 4 * b[1], 4 * b[0] + 4 * b[2], 4 * b[1] + 4 * b[3])
)
VALUES = st.sampled_from([0.0, 0.3, 0.7, 0.8, 0.9, 1.0])
OBJECTS = st.lists(st.tuples(st.integers(1, 3), BOXES, VALUES), max_size=5)


@st.composite
def problems(draw):
    frames = draw(st.lists(OBJECTS, min_size=1, max_size=5))
    ids = draw(st.permutations(range(1, len(frames) + 1)))
    near = [(cls, box) for objects in frames for cls, box, _ in objects]
    boxes = st.tuples(st.integers(1, 3), BOXES)
    if near:
        boxes = st.one_of(boxes, st.sampled_from(near))
    scores = st.integers(0, 20).map(lambda score: score / 20)
    found = draw(st.lists(st.tuples(st.integers(1, len(frames) + 1), boxes, scores), max_size=25))
    return [(i, cls, score, box) for i, (cls, box), score in found], list(zip(ids, frames))


@settings(max_examples=150, deadline=None)
@given(problems())
def test_equal_to_the_plain_reference(problem):
    detections, frames = problem
    np.testing.assert_allclose(ap(detections, frames, 3), reference.evaluate(detections, frames, 3), rtol=0, atol=1e-9)
