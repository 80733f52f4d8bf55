"""From outputs to detections by hand, and the detector of single frames."""

from __future__ import annotations

import numpy as np
import pytest
from easydict import EasyDict

from lib.backends.choice import backend_of
from lib.inference.detect import batch_detections, behind, chunks, detections_of, picture
from rfcn import network
from tests import tiny
from tests.golden import same_detections

TEST = EasyDict(NMS=0.3, SCORE_THRESH=0.1, max_per_image=300)
ROIS = np.float32([[0, 10, 10, 29, 49], [0, 11, 10, 30, 49], [0, 60, 0, 99, 19]])
NO_CHANGE = np.zeros((3, 8), np.float32)
INFO = np.float32([60, 110, 2])


def test_boxes_come_back_to_original_pixels_and_are_suppressed_class_by_class():
    scores = np.float32([[0, 0.9, 0.3], [0, 0.8, 0.6], [0, 0.05, 0.4]])
    found = detections_of(ROIS, scores, NO_CHANGE, INFO, TEST)
    assert found.classes.tolist() == [1, 2, 2] and found.classes.dtype == np.int32
    np.testing.assert_allclose(found.scores, [0.9, 0.6, 0.4])
    np.testing.assert_allclose(found.boxes, ROIS[[0, 1, 2], 1:] / 2)
    assert found.boxes.dtype == found.scores.dtype == np.float32


def test_only_the_last_four_numbers_of_a_roi_move_its_box_and_the_image_bounds_it():
    moves = NO_CHANGE.copy()
    moves[:, :4] = 7
    moves[2, 4] = 1  # one width (40) to the right: 100 .. 139, in an image of 110
    found = detections_of(ROIS, np.float32([[0, 0]] * 2 + [[0, 1]]), moves, INFO, TEST)
    np.testing.assert_allclose(found.boxes, [[50, 0, 109 / 2, 19 / 2]])


def test_the_best_over_all_classes_are_kept_and_ties_with_the_threshold_dropped():
    scores = np.float32([[0, 0.9, 0.3], [0, 0.1, 0.1], [0, 0.2, 0.4]])
    found = detections_of(ROIS, scores, NO_CHANGE, INFO, EasyDict(TEST, max_per_image=2))
    assert list(zip(found.classes, found.scores)) == [(1, np.float32(0.9)), (2, np.float32(0.4))]
    assert len(detections_of(ROIS, scores, NO_CHANGE, INFO, EasyDict(TEST, NMS=1.0))) == 4


def test_nothing_above_the_threshold():
    found = detections_of(ROIS, np.zeros((3, 3), np.float32), NO_CHANGE, INFO, TEST)
    assert len(found) == 0 and found.boxes.shape == (0, 4)


def test_each_image_of_a_batch_has_its_own_rois_and_size():
    outputs = {
        "rois": np.concatenate((ROIS, ROIS + 4)),
        "cls_prob_reshape": np.float32([[[0, 0.9]] * 3, [[0, 0.2]] * 3]),
        "bbox_pred_reshape": np.zeros((2, 3, 8), np.float32),
    }
    first, second = batch_detections(outputs, np.float32([[60, 110, 2], [60, 110, 1]]), TEST)
    np.testing.assert_allclose(first.boxes, ROIS[[0, 2], 1:] / 2)
    np.testing.assert_allclose(second.boxes, ROIS[[0, 2], 1:] + 4)
    np.testing.assert_allclose(second.scores, 0.2)


def test_chunks():
    assert list(chunks("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(chunks([], 3)) == []


# The detector

CFG = tiny.settings("rfcn")
ARGS, AUXS = tiny.weights(CFG, "rfcn")
SIZES = [(48, 64), (48, 64), (48, 64), (64, 48), (64, 48), (48, 64), (30, 90), (48, 64)]


@pytest.fixture(scope="module")
def frames():
    return [tiny.clip(1, *size, seed=number)[0] for number, size in enumerate(SIZES)]


def detector(batch=1):
    return tiny.load(CFG, ARGS, AUXS, "rfcn", batch=batch)


def test_batch_equals_single_while_sizes_change(frames):
    backend = backend_of(CFG)
    forward = backend.network(lambda F: network.test(F, CFG), backend.devices("")[0], ARGS, AUXS)
    expected = []
    for frame in frames:
        item = picture(frame, CFG)
        expected += batch_detections(forward(data=item.data, im_info=item.im_info), item.im_info, CFG.TEST)
    for batch in (1, 2, 5):
        found = list(detector(batch)(iter(frames)))
        assert len(found) == len(frames)
        for one, other in zip(found, expected):
            same_detections(one, other, share=0.9)


def test_boxes_lie_in_the_original_frame(frames):
    for frame, found in zip(frames, detector(3)(frames)):
        height, width = frame.shape[:2]
        assert len(found) == 20 * (tiny.CLASSES - 1)
        assert found.boxes.min() >= 0 and (found.boxes.max(axis=0) <= [width, height] * 2).all()
        assert (np.diff(found.classes) >= 0).all() and set(found.classes) <= {1, 2, 3}


def test_output_comes_as_soon_as_a_batch_is_full_or_the_size_changes(frames):
    taken = []

    def counted():
        for frame in frames:
            taken.append(1)
            yield frame

    run = detector(2)(counted())
    seen = []
    for _ in run:
        seen.append(len(taken))
    # runs of (48, 64) are cut after two; the frame after a run shows that it has ended
    assert seen == [3, 3, 4, 6, 6, 7, 8, 8]


def test_no_frames():
    assert list(detector()([])) == []


def test_a_picture_of_another_type_is_refused():
    with pytest.raises(ValueError, match="uint8"):
        list(detector()([np.zeros((48, 64, 3), np.float32)]))


def test_results_are_read_after_later_launches():
    done = []

    def launches():
        for number in range(4):
            done.append(f"launch {number}")
            yield lambda n=number: done.append(f"read {n}") or [n, n]

    assert list(behind(launches(), 0)) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert done == [f"{what} {n}" for n in range(4) for what in ("launch", "read")]
    done.clear()
    assert list(behind(launches(), 1)) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert done[:4] == ["launch 0", "launch 1", "read 0", "launch 2"] and done[-2:] == ["read 2", "read 3"]
