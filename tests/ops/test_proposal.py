"""The proposal operator against numpy and golden numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import operators_reference as reference
from lib.backends.mxnet.loader import mx
from lib.bbox.anchors import base_anchors
from tests.networks import EAGER
from tests.ops.common import Kernels, golden

DEFAULTS = {
    "feature_stride": 16,
    "scales": (8, 16, 32),
    "ratios": (0.5, 1, 2),
    "pre_nms_top_n": 6000,
    "post_nms_top_n": 300,
    "nms_threshold": 0.7,
    "min_size": 0,
}


def run(prob, deltas, info, **changes):
    rois, scores = EAGER.multi_proposal(
        *(mx.nd.array(a) for a in (prob, deltas, info)), **{**DEFAULTS, **changes}, with_scores=True
    )
    return rois.asnumpy(), scores.asnumpy()


def expected(prob, deltas, info, **changes):
    options = {**DEFAULTS, **changes}
    rois, scores = [], []
    for k in range(len(prob)):
        boxes, values = reference.proposals_of_image(prob[k], deltas[k], info[k], *options.values())
        rois.append(np.column_stack([np.full(len(boxes), k), boxes]))
        scores.append(values[:, None])
    return np.concatenate(rois), np.concatenate(scores)


def random_case(batch, height, width, anchors=9, seed=0):
    """Scores on a coarse grid, so that many are equal."""
    rng = np.random.RandomState(seed)
    prob = rng.randint(0, 16, (batch, 2 * anchors, height, width)).astype(np.float32) / 16
    deltas = (rng.standard_normal((batch, 4 * anchors, height, width)) * 0.4).astype(np.float32)
    info = np.array([[16 * height, 16 * width, 1]] * batch, np.float32)
    return prob, deltas, info


def one_anchor(scores, deltas=None):
    """A row of cells with one anchor of 16x16 pixels a cell: cell k covers x 16k .. 16k + 15."""
    count = len(scores)
    prob = np.zeros((1, 2, 1, count), np.float32)
    prob[0, 1, 0] = scores
    moves = np.zeros((1, 4, 1, count), np.float32) if deltas is None else np.asarray(deltas, np.float32)
    return prob, moves, np.array([[16, 16 * count, 1]], np.float32)


ONE = {"scales": (1,), "ratios": (1,)}


def test_golden_rois_in_the_same_order():
    stds = np.tile(np.array([0.1, 0.1, 0.4, 0.4], np.float32), 9).reshape(1, 36, 1, 1)
    rois, scores = run(golden("rpn_prob"), golden("rpn_bbox_pred_raw") * stds, [[144, 208, 1]])
    assert np.abs(rois - golden("rois")).max() <= 0.05
    assert (np.diff(scores[:169, 0]) <= 0).all()  # 169 survivors, then again from the first
    assert np.array_equal(rois[169], rois[0])


def test_anchors_are_the_published_ones():
    """The nine anchors of Faster R-CNN about the first cell."""
    prob, deltas = np.zeros((1, 18, 1, 1), np.float32), np.zeros((1, 36, 1, 1), np.float32)
    kernels = Kernels(1)
    anchors = np.empty((9, 4), np.float32)
    scales, ratios = np.array([8, 16, 32], np.float32), np.array([0.5, 1, 2], np.float32)
    kernels.call("fgfa_proposal_anchors", (1, 1, 1, 3, 3, scales, ratios, 16.0, 0, 1, 0.7, 0.0), anchors)
    assert anchors.tolist() == [
        [-84, -40, 99, 55],
        [-176, -88, 191, 103],
        [-360, -184, 375, 199],
        [-56, -56, 71, 71],
        [-120, -120, 135, 135],
        [-248, -248, 263, 263],
        [-36, -80, 51, 95],
        [-80, -168, 95, 183],
        [-168, -344, 183, 359],
    ]
    assert np.array_equal(anchors, reference.anchors(scales, ratios))
    kernels.call("fgfa_proposal_anchors", (1, 1, 1, 3, 3, scales, ratios, 8.0, 0, 1, 0.7, 0.0), anchors)
    assert np.array_equal(anchors, base_anchors(8, ratios, scales))  # those that training assigns
    rois, _ = run(prob, deltas, [[1000, 1000, 1]], post_nms_top_n=1)
    assert rois.tolist() == [[0, 0, 0, 99, 55]]


def test_the_best_scores_come_first_and_equal_ones_in_the_order_of_the_cells():
    rois, scores = run(*one_anchor([0.1, 0.5, 0.9, 0.5]), **ONE, post_nms_top_n=4)
    assert rois[:, 1].tolist() == [32, 16, 48, 0]
    np.testing.assert_allclose(scores[:, 0], [0.9, 0.5, 0.5, 0.1])


def test_fewer_survivors_are_repeated_from_the_first():
    rois, scores = run(*one_anchor([0.2, 0.8]), **ONE, post_nms_top_n=5)
    assert rois[:, 1].tolist() == [16, 0, 16, 0, 16]
    assert scores.shape == (5, 1)


def test_only_the_best_enter_the_suppression():
    rois, _ = run(*one_anchor([0.1, 0.5, 0.9]), **ONE, pre_nms_top_n=2, post_nms_top_n=3)
    assert rois[:, 1].tolist() == [32, 16, 32]


def test_suppression_removes_only_what_overlaps_more_than_the_threshold():
    """Two boxes of 16x16 moved to 8 columns in common: IoU = 128 / 384 = 1/3."""
    deltas = np.zeros((1, 4, 1, 2))
    deltas[0, 0, 0, 1] = -0.5
    case = one_anchor([0.9, 0.8], deltas)
    assert run(*case, **ONE, post_nms_top_n=2, nms_threshold=0.34)[0][:, 1].tolist() == [0, 8]
    assert run(*case, **ONE, post_nms_top_n=2, nms_threshold=0.33)[0][:, 1].tolist() == [0, 0]
    same = np.zeros((1, 4, 1, 2))
    same[0, 0, 0, 1] = -1  # the same box: IoU is 1, not more than 1
    assert run(*one_anchor([0.9, 0.8], same), **ONE, post_nms_top_n=2, nms_threshold=1)[1].ravel() == pytest.approx(
        [0.9, 0.8]
    )


def test_cells_beyond_the_image_get_score_minus_one_but_stay():
    prob, deltas, _ = one_anchor([0.1, 0.2, 0.9])
    rois, scores = run(prob, deltas, [[16, 47, 1]], **ONE, post_nms_top_n=3)  # floor(47 / 16) = 2 columns
    assert rois.tolist() == [[0, 16, 0, 31, 15], [0, 0, 0, 15, 15], [0, 32, 0, 46, 15]]
    np.testing.assert_allclose(scores[:, 0], [0.2, 0.1, -1])


def test_small_boxes_get_score_minus_one_but_stay():
    deltas = np.zeros((1, 4, 1, 2))
    deltas[0, 2, 0, 1] = np.log(0.5)  # half as wide: 8 pixels
    prob, moves, info = one_anchor([0.3, 0.9], deltas)
    info[0, 2] = 2
    assert run(prob, moves, info, **ONE, post_nms_top_n=2, min_size=4)[1][:, 0] == pytest.approx([0.9, 0.3])
    assert run(prob, moves, info, **ONE, post_nms_top_n=2, min_size=4.5)[1][:, 0] == pytest.approx([0.3, -1])


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 1, 1), (2, 5, 7), (3, 4, 3)])
@pytest.mark.parametrize(
    "changes",
    [{}, {"pre_nms_top_n": 50, "post_nms_top_n": 20}, {"pre_nms_top_n": 0, "min_size": 40}, {"feature_stride": 8}],
)
def test_equals_numpy(batch, height, width, changes):
    case = random_case(batch, height, width)
    case[2][0, :2] -= 20  # the first image ends before the last row and column of cells
    for ours, theirs in zip(run(*case, **changes), expected(*case, **changes)):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_a_batch_equals_its_images():
    prob, deltas, info = random_case(3, 4, 6, seed=2)
    info[1] = (40, 70, 0.5)
    together, scores = run(prob, deltas, info, min_size=16)
    for k in range(3):
        alone, alone_scores = run(prob[k : k + 1], deltas[k : k + 1], info[k : k + 1], min_size=16)
        rows = slice(300 * k, 300 * (k + 1))
        assert (together[rows, 0] == k).all()
        assert np.array_equal(together[rows, 1:], alone[:, 1:])
        assert np.array_equal(scores[rows], alone_scores)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5), st.floats(0, 1))
def test_boxes_lie_in_the_image_and_survivors_do_not_overlap(seed, height, width, threshold):
    prob, deltas, info = random_case(1, height, width, seed=seed)
    deltas *= 5
    rois, scores = run(prob, deltas, info, post_nms_top_n=30, nms_threshold=threshold)
    assert (rois[:, 1:3] >= 0).all()
    assert (rois[:, 3] <= info[0, 1] - 1).all()
    assert (rois[:, 4] <= info[0, 0] - 1).all()
    survivors = np.unique(rois[:, 1:], axis=0)
    for k, box in enumerate(survivors):
        assert (reference.iou(box, np.delete(survivors, k, axis=0)) <= threshold + 1e-5).all()
    assert scores[0] == scores.max()


def test_not_a_number_neither_hangs_nor_leaves_the_image():
    prob, deltas, info = one_anchor([0.1, np.nan, 0.9])
    deltas[0, :, 0, 2] = np.nan
    deltas[0, 2, 0, 0] = 1e30
    rois, scores = run(prob, deltas, info, **ONE, post_nms_top_n=3)
    assert np.isfinite(rois).all()
    assert scores[0] == pytest.approx(0.9)


@pytest.mark.parametrize("threads", [2, 8])
def test_the_number_of_threads_changes_no_bit(threads):
    prob, deltas, info = random_case(2, 6, 7)
    scales, ratios = np.array([8, 16, 32], np.float32), np.array([0.5, 1, 2], np.float32)
    shape = (2, 6, 7, 3, 3, scales, ratios, 16.0, 6000, 300, 0.7, 0.0)
    results = []
    for number in (1, threads):
        rois, scores = np.empty((600, 5), np.float32), np.empty(600, np.float32)
        Kernels(number).call("fgfa_multi_proposal_cpu", shape, prob, deltas, info, rois, scores)
        results.append(np.column_stack([rois, scores]))
    assert np.array_equal(*results)


def test_it_stands_in_a_training_graph_and_passes_no_gradient():
    inputs = [mx.nd.array(a) for a in random_case(1, 3, 4)]
    for array in inputs:
        array.attach_grad()
    with mx.autograd.record():
        out = (EAGER.multi_proposal(*inputs, **DEFAULTS) * 2).sum() + inputs[0].sum()
    out.backward()
    assert (inputs[0].grad.asnumpy() == 1).all()
    assert not inputs[1].grad.asnumpy().any()
    assert not inputs[2].grad.asnumpy().any()


@pytest.mark.parametrize(
    ("prob", "deltas", "info", "message"),
    [
        ((1, 12, 2, 3), (1, 36, 2, 3), (1, 3), "cls_prob has shape (1, 12, 2, 3); it must be (batch, 2 * 9 anchors,"),
        ((1, 18, 2, 3), (1, 36, 3, 2), (1, 3), "bbox_pred has shape (1, 36, 3, 2)"),
        ((2, 18, 2, 3), (2, 36, 2, 3), (1, 3), "im_info has shape (1, 3); it must be (batch, 3)"),
    ],
)
def test_refuses_wrong_shapes(prob, deltas, info, message):
    with pytest.raises(mx.base.MXNetError) as error:
        run(np.zeros(prob), np.zeros(deltas), np.zeros(info))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scales": ()}, "attribute 'scales' is '()': it must be one or more numbers"),
        ({"ratios": (1, -1)}, "every number must be greater than 0"),
        ({"post_nms_top_n": 0}, "attribute 'post_nms_top_n' is '0': it must be a single number of at least 1"),
        ({"feature_stride": 0}, "attribute 'feature_stride' is 0"),
        ({"nms_threshold": float("nan")}, "attribute 'nms_threshold' is 'nan'"),
        ({"pre_nms_top_n": -1}, "attribute 'pre_nms_top_n' is '-1'"),
    ],
)
def test_refuses_wrong_attributes(changes, message):
    with pytest.raises(mx.base.MXNetError) as error:
        run(*random_case(1, 2, 2), **changes)
    assert message in str(error.value)
