"""Losses and accuracies of a detector's training step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.training.metrics import detection_metrics

GOLDEN = Path(__file__).parents[1] / "data" / "training_step.npz"


def test_golden_step():
    with np.load(GOLDEN, allow_pickle=False) as golden:
        outputs = {
            "rpn_cls_prob": golden["rpn_cls_prob"],
            "rpn_bbox_loss": golden["rpn_bbox_loss"],
            "cls_prob_reshape": golden["cls_prob"],
            "bbox_loss_reshape": golden["bbox_loss"],
            "blockgrad0": golden["rcnn_label"],
        }
        metrics = detection_metrics(outputs, {"label": golden["input_label"]})
        assert list(metrics) == ["RPNAcc", "RCNNAcc", "RPNLogLoss", "RCNNLogLoss", "RPNL1Loss", "RCNNL1Loss"]
        for name, (total, count) in metrics.items():
            assert total / count == pytest.approx(float(golden[f"loss_{name}"]), rel=1e-5), name


def test_ignored_labels_do_not_count_and_a_zero_probability_is_finite():
    outputs = {
        "rpn_cls_prob": np.float32([[[[0.9, 0.2]], [[0.1, 0.8]]]]),
        "rpn_bbox_loss": np.zeros((1, 4, 1, 2), np.float32),
        "cls_prob_reshape": np.float32([[[0, 1], [1, 0], [0.5, 0.5]]]),
        "bbox_loss_reshape": np.full((1, 3, 8), 0.25, np.float32),
        "blockgrad0": np.float32([[0, 0, -1]]),
    }
    metrics = detection_metrics(outputs, {"label": np.float32([[0, -1]])})
    assert metrics["RPNAcc"] == (1, 1)
    assert metrics["RPNLogLoss"] == pytest.approx((-np.log(0.9), 1), rel=1e-6)
    assert metrics["RCNNAcc"] == (1, 2)
    assert metrics["RCNNLogLoss"] == pytest.approx((-np.log(1e-14), 2), rel=1e-6)
    assert metrics["RCNNL1Loss"] == (6, 2)
