"""A small R-FCN through the real loader, operators and runtime: stopped and resumed equals uninterrupted."""

from __future__ import annotations

import functools
import os
import signal
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from lib.backends.base import Sgd
from lib.backends.choice import backend_of
from lib.bbox.anchors import base_anchors
from lib.bbox.assign import assign
from lib.cli.signals import stop_requested
from lib.dataset.imagenet_vid import AnnotationIndex
from lib.dataset.loader import TrainLoader
from lib.nets import params
from lib.training.checkpoints import Checkpoints, with_test_weights
from lib.training.fit import Interrupted, fit
from lib.training.schedules import step_decay
from rfcn import network
from tests import tiny

CFG = tiny.settings("rfcn", network={"ANCHOR_SCALES": [2]}, dataset={"NUM_CLASSES": 8})
SIZES = np.array([(64, 48), (48, 64)] * 3, np.int32)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    entries = [SimpleNamespace(image=folder / f"{number}.png") for number in range(len(SIZES))]
    for number, (entry, (width, height)) in enumerate(zip(entries, SIZES)):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3)).astype(np.uint8)
        cv2.imwrite(str(entry.image), pixels)
    count = len(SIZES)
    boxes = np.tile(np.float32([[4, 5, 30, 40]]), (count, 1))
    zero = np.zeros(count, bool)
    numbers = np.arange(count + 1)
    classes = (1 + numbers[:-1]).astype(np.int32)
    names = [entry.image.stem for entry in entries]
    return entries, AnnotationIndex(names, SIZES, numbers, boxes, classes, classes, zero, zero)


def losses(F):
    return network.losses(F, CFG)


def train(folder, dataset, *, resume=False, stop_in_step=0):
    targets = functools.partial(assign, base=base_anchors(8, [1], [2]), stride=8, batch_size=16)
    loader = TrainLoader(
        *dataset, assign=targets, stride=8, scales=[(48, 80)], pixel_means_bgr=(100, 100, 100), devices=2
    )
    backend = backend_of(CFG)
    fold = functools.partial(with_test_weights, means=[0] * 4, stds=[0.1, 0.1, 0.2, 0.2], bins=9)
    checkpoints = Checkpoints(folder / "net", fold)
    resumed = checkpoints.newest() if resume else None
    if resumed:
        args, auxs = resumed.args, resumed.auxs
    else:
        inputs = {name: value.shape for name, value in loader.batch(0, 0, 0, False).items()}
        args, auxs = (
            {name: params.initial(name, shape, 0) for name, shape in part.items()}
            for part in backend.shapes(losses, **inputs)
        )
    step = backend.trainer(losses, backend.devices("") * 2, args, auxs, args, Sgd(momentum=0.9, wd=5e-4))
    schedule = step_decay(1e-3, "1.5", len(loader))
    steps = 0

    def counted(number):
        nonlocal steps
        steps += 1
        if steps == stop_in_step:
            os.kill(os.getpid(), signal.SIGINT)
        return schedule(number)

    options = {"schedule": counted, "end_epoch": 2, "frequent": 2}
    with stop_requested() as stopped:
        fit(step, loader, checkpoints=checkpoints, resumed=resumed, stopped=stopped, **options)
    args, auxs = params.load(checkpoints.path(2))
    return {**args, **auxs}


def test_same_losses_and_weights(dataset, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = train(whole, dataset)
    with pytest.raises(Interrupted):
        train(parts, dataset, stop_in_step=9)  # in the second epoch, between two lines of the log
    found = train(parts, dataset, resume=True)
    assert (parts / "losses.jsonl").read_text() == (whole / "losses.jsonl").read_text()
    assert found.keys() == expected.keys() and "rfcn_bbox_weight_test" in found
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
