"""Region proposals: the small steps between the convolutions and the operator."""

from __future__ import annotations

import numpy as np
import pytest

from lib.backends.mxnet.loader import mx
from lib.nets.rpn import Proposals, propose, rpn, rpn_losses
from tests.networks import BUILTIN, COMPILED, run, symbol, variables

NET = Proposals(8, (2, 4), (1,), (0.1, 0.1, 0.4, 0.4), pre_nms=50, post_nms=12, nms_threshold=0.7)


def proposals(F, **inputs):
    (rois,) = run(symbol(propose, *variables("scores", "boxes", "im_info"), NET, F=F), **inputs).values()
    return rois


def test_two_scores_and_four_numbers_an_anchor():
    scores, boxes = rpn(COMPILED, *variables("x"), NET.anchors)
    assert scores.infer_shape(x=(2, 3, 5, 6))[1] == [(2, 4, 5, 6)]
    assert boxes.infer_shape(x=(2, 3, 5, 6))[1] == [(2, 8, 5, 6)]


@pytest.mark.parametrize("F", [COMPILED, BUILTIN])
def test_the_best_anchor_comes_first_and_moves_by_its_normalised_deltas(F):
    scores = np.zeros((1, 4, 6, 8), np.float32)  # background of both anchors, then foreground of both
    scores[0, 3, 2, 5] = 9  # anchor 1 (scale 4: 32 pixels) at row 2, column 5
    boxes = np.zeros((1, 8, 6, 8), np.float32)
    boxes[0, 4, 2, 5] = 5  # dx = 5 * 0.1 of the width
    rois = proposals(F, scores=scores, boxes=boxes, im_info=np.float32([[48, 64, 1]]))
    assert rois.shape == (12, 5) and not rois[:, 0].any()
    centre_x, centre_y = 5 * 8 + 3.5, 2 * 8 + 3.5
    box = np.array([centre_x - 15.5, centre_y - 15.5, centre_x + 15.5, centre_y + 15.5])
    box[[0, 2]] += 0.5 * 32
    np.testing.assert_allclose(rois[0, 1:], box.clip(0, [63, 47, 63, 47]), atol=1e-4)


@pytest.mark.parametrize("F", [COMPILED, BUILTIN])
def test_each_image_of_a_batch_is_by_itself(F):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(3, 4, 6, 8)).astype(np.float32)
    boxes = rng.normal(size=(3, 8, 6, 8)).astype(np.float32)
    info = np.float32([[48, 64, 1]] * 3)
    together = proposals(F, scores=scores, boxes=boxes, im_info=info)
    assert together.shape == (36, 5)
    for image in range(3):
        one = slice(image, image + 1)
        alone = proposals(F, scores=scores[one], boxes=boxes[one], im_info=info[one])
        rows = together[12 * image : 12 * image + 12]
        assert (rows[:, 0] == image).all()
        np.testing.assert_allclose(rows[:, 1:], alone[:, 1:], atol=1e-4)


def test_losses_and_their_gradients_by_hand():
    """Two anchors, two cells. One label is ignored; one is positive with a box off by 0.5 and by 2."""
    names = ("scores", "boxes")
    losses = symbol(rpn_losses, *variables(*names), batch_size=4)
    shapes = {"scores": (1, 4, 1, 2), "boxes": (1, 8, 1, 2), "label": (1, 4)}
    shapes.update(bbox_target=shapes["boxes"], bbox_weight=shapes["boxes"])
    executor = losses.simple_bind(
        mx.cpu(), grad_req={name: "write" if name in names else "null" for name in shapes}, **shapes
    )
    for array in executor.arg_dict.values():
        array[:] = 0
    executor.arg_dict["scores"][0, 3, 0, 0] = 2  # foreground of anchor 1, cell 0
    executor.arg_dict["label"][:] = np.float32([[0, -1, 1, 0]])  # (anchor 0, cell 0), (0, 1), (1, 0), (1, 1)
    executor.arg_dict["bbox_target"][0, 4:6, 0, 0] = np.float32([0.5, -2])
    executor.arg_dict["bbox_weight"][0, 4:8, 0, 0] = 1
    prob, loss = (out.asnumpy() for out in executor.forward(is_train=True))
    executor.backward()
    foreground = 1 / (1 + np.exp(-2))
    np.testing.assert_allclose(prob[0, 1].ravel(), [0.5, 0.5, foreground, 0.5], rtol=1e-6)
    np.testing.assert_allclose(loss[0, 4:6, 0, 0], [0.125, 1.5])
    assert loss.sum() == pytest.approx(1.625)
    scores = executor.grad_dict["scores"].asnumpy().reshape(2, 4)  # (class, label)
    expected = np.array([0.5, 0, foreground - 1, 0.5]) / 3  # the mean over three labels
    np.testing.assert_allclose(scores[1], expected, atol=1e-7)
    np.testing.assert_allclose(scores[0], -expected, atol=1e-7)
    boxes = executor.grad_dict["boxes"].asnumpy()
    np.testing.assert_allclose(boxes[0, 4:6, 0, 0], [-0.5 / 4, 1 / 4])
    assert np.count_nonzero(boxes) == 2
