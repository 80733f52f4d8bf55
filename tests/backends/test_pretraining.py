"""The steps of MiniVID's pre-training give the figures that they give with MXNet: BatchNorm by the batch, and Adam.

MXNet's figures are a file, made by

    python -m tests.backends.test_pretraining
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lib.backends.base import Adam, Backend, Sgd
from lib.backends.choice import make_backend
from lib.nets.flownet import pretraining_losses
from lib.nets.resnet import Backbone, classifier
from lib.nets.sizes import backbone, flownet
from tests import recipe, tiny
from tests.conftest import DATA

FILE = DATA / "pretraining.json"
CFG = tiny.settings()
STEPS = 5


def backbone_problem():
    """(network, batches, optimizer, learning rate)"""
    sizes = replace(backbone(CFG, Backbone.eps), batch_statistics=True)
    images = recipe.frames(32, 32, 8 * STEPS, "backbone").reshape(STEPS, 8, 3, 32, 32)
    labels = np.arange(8 * STEPS, dtype=np.float32).reshape(STEPS, 8) % 4
    batches = [{"data": data, "label": label} for data, label in zip(images, labels)]
    return lambda F: classifier(F, sizes, 4), batches, Sgd(wd=5e-4), 0.01


def flow_problem():
    net = flownet(CFG)
    rng = np.random.RandomState(0)
    images = recipe.frames(64, 96, 4 * STEPS, "flow").reshape(STEPS, 2, 2, 3, 64, 96)
    batches = []
    for current, other in images:
        batch = {"current": current, "other": other}
        for scale, stride in enumerate((8, 16, 32)[: len(net.encoder) - 1]):
            shape = (2, 64 // stride, 96 // stride)
            batch[f"flow{scale}"] = rng.standard_normal((2, *shape)).astype(np.float32)
            batch[f"weight{scale}"] = rng.uniform(1, 5, (2, 1, *shape[1:])).astype(np.float32)
        batches.append(batch)
    return lambda F: pretraining_losses(F, net, [1.0, 0.5, 0.25]), batches, Adam(clip_norm=10.0), 6e-4


PROBLEMS = {"backbone": backbone_problem, "flow": flow_problem}


def figures(backend: Backend, stage: str) -> dict[str, list[float]]:
    """After each step: sums of the outputs' squares; after the last, those of statistics and optimizer state."""
    build, batches, rules, lr = PROBLEMS[stage]()
    shapes = backend.shapes(build, **{name: value.shape for name, value in batches[0].items()})
    args, auxs = ({name: recipe.weights(name, shape) for name, shape in part.items()} for part in shapes)
    trainer = backend.trainer(build, backend.devices(""), args, auxs, args, rules)
    steps = [trainer.step([batch], lr)[0] for batch in batches]
    found = {f"output {name}": [square(step[name]) for step in steps] for name in steps[0]}
    found["statistics"] = [square(value) for _, value in sorted(trainer.params()[1].items())]
    found["state"] = [square(value) for _, value in sorted(trainer.state().items())]
    return found


def square(values: np.ndarray) -> float:
    return float((values.astype(np.float64) ** 2).sum())


@pytest.mark.parametrize("stage", PROBLEMS)
def test_figures_of_five_steps(backend, stage):
    found, expected = figures(backend, stage), json.loads(FILE.read_text())[stage]
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-7 * max(values, default=0), err_msg=name)


if __name__ == "__main__":
    made = {stage: figures(make_backend("mxnet", CFG), stage) for stage in PROBLEMS}
    FILE.write_text(json.dumps(made, indent=1) + "\n")
