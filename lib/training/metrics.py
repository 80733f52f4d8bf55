"""Metrics of a detector's training step, for the progress bar and the loss curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

# Maps the outputs of one device and its batch to {name: (sum, count)}. The mean over steps and devices is the ratio of
# the totals.
Metrics = Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], "dict[str, tuple[float, float]]"]


def detection_metrics(
    outputs: Mapping[str, np.ndarray], batch: Mapping[str, np.ndarray]
) -> dict[str, tuple[float, float]]:
    """Accuracy and losses of the region proposal network and of the head.

    outputs: rpn_cls_prob (1, 2, A * h, w), rpn_bbox_loss (1, 4 A, h, w), cls_prob_reshape
    (1, R, C + 1), bbox_loss_reshape (1, R, 4 * box classes), blockgrad0 (1, R) labels after OHEM;
    batch: label (1, A * h * w). Labels of -1 are ignored. The box losses are sums over coordinates, divided by the
    number of labels that are not ignored, not by the number of positives.
    """
    result = {}
    parts = (
        ("RPN", outputs["rpn_cls_prob"], batch["label"], outputs["rpn_bbox_loss"]),
        (
            "RCNN",
            np.moveaxis(outputs["cls_prob_reshape"], -1, 1),
            outputs["blockgrad0"],
            outputs["bbox_loss_reshape"],
        ),
    )
    for name, prob, label, box_loss in parts:
        prob = prob.reshape(prob.shape[1], -1)
        label = label.ravel().astype(np.int64)
        valid = np.flatnonzero(label >= 0)
        chosen, label, count = prob[:, valid], label[valid], float(len(valid))
        result[f"{name}Acc"] = (float((chosen.argmax(axis=0) == label).sum()), count)
        of_label = np.maximum(chosen[label, np.arange(len(label))].astype(np.float64), 1e-14)
        result[f"{name}LogLoss"] = (float(-np.log(of_label).sum()), count)
        result[f"{name}L1Loss"] = (float(box_loss.sum(dtype=np.float64)), count)
    return {
        f"{name}{kind}": result[f"{name}{kind}"] for kind in ("Acc", "LogLoss", "L1Loss") for name in ("RPN", "RCNN")
    }
