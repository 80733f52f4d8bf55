"""The whole inference path of every method on a backend of a few lines: nothing above the boundary needs MXNet."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from lib.methods import METHODS
from lib.nets import params
from tests import tiny
from tests.tiny import ROOT

# Runs in a process of its own, in which importing MXNet fails.
PROGRAM = """
import sys
sys.modules["mxnet"] = None
import json
import numpy as np
from lib.methods import METHODS
from lib.config import load_config
from lib.video.clips import open_clip

ROIS = 20


class FakeBuffer(np.ndarray):
    def write(self, rows, values):
        self[list(rows)] = values


class FakeNetwork:
    '''Answers by the names of its inputs, whatever the network is.'''

    def __init__(self, cfg):
        self.cfg, self.kept = cfg, {}

    def buffers(self, **shapes):
        self.kept.update({name: np.zeros(shape, np.float32).view(FakeBuffer) for name, shape in shapes.items()})
        return {name: self.kept[name] for name in shapes}

    def __call__(self, **inputs):
        inputs = {**self.kept, **inputs}
        if "im_info" in inputs:
            batch, classes = len(inputs["im_info"]), self.cfg.dataset.NUM_CLASSES
            rois = np.tile(np.float32([0, 8, 8, 39, 39]), (batch * ROIS, 1))
            prob = np.zeros((batch, ROIS, classes), np.float32)
            prob[:, 0, 2] = 0.75
            return {"rois": rois, "cls_prob_reshape": prob, "bbox_pred_reshape": np.zeros((batch, ROIS, 8), np.float32)}
        if "image_cache" in inputs:
            return {"flow": np.zeros((len(inputs["current"]), 2, 6, 9), np.float32)}
        if "flow_cache" in inputs:
            return {"flow": inputs["flow_cache"][inputs["rows"].astype(int)]}
        if "image_key" in inputs:
            count, *cells = len(inputs["current"]), 6, 9
            return {"flow": np.zeros((count, 2, *cells), np.float32), "scale": np.ones((count, 24, *cells), np.float32)}
        count, _, height, width = inputs["data"].shape
        maps = np.ones((count, -(-height // 8), -(-width // 8), 24), np.float32)
        return {name: maps for name in ("features", "conv_embed", "image")}


class FakeBackend:
    name = "fake"

    def __init__(self, cfg):
        self.cfg = cfg

    def devices(self, gpus):
        return ["device"]

    def shapes(self, build, **inputs):
        return {}, {}

    def network(self, *arguments):
        return FakeNetwork(self.cfg)

    def precision(self, kind, weights):
        return self

    def overlaps(self, device):
        return True

    def fetch(self, outputs):
        copies = {name: values.copy() for name, values in outputs.items()}
        return lambda: copies


method, cfg, weights, folder = METHODS[sys.argv[1]], *sys.argv[2:]
cfg = load_config(cfg, schema=method.schema)
for batch in (1, 3):
    detector = method.detector.load(cfg, weights, backend=FakeBackend(cfg), batch=batch)
    found = list(detector(frame.image for frame in open_clip(folder)))
    print(json.dumps([[each.classes.tolist(), each.scores.tolist(), each.boxes.tolist()] for each in found]))
"""


@pytest.mark.parametrize("name", METHODS)
def test_detection_runs_on_any_backend(name, minivid, tmp_path):
    path = tiny.write_experiment(tmp_path, minivid, name)
    params.save(tmp_path / "none-0000.params", {}, {})
    (clip, *_) = sorted((minivid / "Data/VID/val").iterdir())
    command = [sys.executable, "-c", PROGRAM, name, path, tmp_path / "none-0000.params", clip]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        found = json.loads(line)
        assert len(found) == 6  # frames of the clip
        for classes, scores, boxes in found:
            assert classes == [2] and scores == [0.75]
            np.testing.assert_allclose(boxes, np.float32([[8, 8, 39, 39]]) / 0.75)  # 64 x 96 pixels shown as 48 x 72
    assert len(done.stdout.splitlines()) == 2
