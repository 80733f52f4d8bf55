"""Twenty training steps give the losses that they give with MXNet, in every backend.

MXNet's losses, and a checkpoint of each backend after ten steps, are files, made by

    python -m tests.backends.test_training mxnet
    python -m tests.backends.test_training torch
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from lib.backends.base import Alone, Backend
from lib.backends.choice import make_backend
from lib.config import load_config
from lib.methods import METHODS
from lib.nets import params
from lib.training.checkpoints import Checkpoint, Checkpoints
from lib.training.metrics import detection_metrics
from lib.training.train import make_loader, optimizer, trainable
from tests import tiny
from tests.conftest import DATA, needs
from tests.tiny import ROOT

LOSSES, HALFWAY = DATA / "training_losses.json", DATA / "training_halfway"
STEPS, HALF = 20, 10
BACKENDS = ("mxnet", "torch")
NAMES = ("RPNLogLoss", "RCNNLogLoss", "RPNL1Loss", "RCNNL1Loss")
TINY = {
    "momentum": {"TRAIN": {"momentum": 0.9, "wd": 5e-4}},
    "clipped": {
        "TRAIN": {"momentum": 0.5, "wd": 0.05, "CLIP_GRADIENT": 1.0},
        "network": {"FIXED_PARAMS": ["conv1", "res", "bn", "rpn_"]},
    },
}
CASES = [(method, kind) for method in METHODS for kind in (*TINY, "minivid")]


def tiny_problem(method: str, kind: str):
    """(settings, parameters, batches): a network of a few thousand weights on noise."""
    changes = {name: dict(values) for name, values in TINY[kind].items()}
    if method != "rfcn" and kind == "clipped":
        changes["TRAIN"]["FLOW_LR_FACTOR"] = 0.1
    cfg = tiny.settings(method, **{**changes, "TRAIN": {**tiny.SETTINGS["TRAIN"], **changes["TRAIN"]}})
    sizes = [(48, 64), (48, 72), (64, 48), (56, 64)]
    batches = [tiny.inputs(cfg, *size, frames=tiny.FRAMES.get(method, ("data",))) for size in sizes]
    return cfg, tiny.weights(cfg, method), [batches[step % len(batches)] for step in range(STEPS)]


def minivid_problem(method: str, folder: Path):
    """The bundled network on the bundled clips, through the real loader."""
    source = ROOT / "data/minivid_val"
    for part in ("Data", "Annotations"):
        (folder / part / "VID").mkdir(parents=True)
        (folder / part / "VID/train").symlink_to(source / part / "VID/val")
    clips = sorted(path.name for path in (source / "Data/VID/val").iterdir())
    (folder / "ImageSets").mkdir()
    lines = [f"train/{clip} 1 {frame} 24\n" for clip in clips for frame in (3, 12, 20)]
    (folder / "ImageSets/VID_train_15frames.txt").write_text("".join(lines))
    overrides = [f"dataset.dataset_path={folder}", f"output_path={folder}", f"dataset.CLASSES={source / 'classes.txt'}"]
    files = METHODS[method].bundled
    cfg = load_config(ROOT / files.cfg, overrides, METHODS[method].schema)
    loader = make_loader(cfg, Alone([None]), METHODS[method].sample(cfg))
    epoch = loader.epoch(0)
    batches = [next(epoch)[0] for _ in range(STEPS)]
    epoch.close()
    args, auxs = params.load(ROOT / files.weights)
    return cfg, (params.for_training(args), auxs), batches


def problem(method: str, kind: str, folder: Path):
    return minivid_problem(method, folder) if kind == "minivid" else tiny_problem(method, kind)


def trainer_of(backend: Backend, method: str, cfg, args, auxs):
    names = trainable(args, cfg.network.FIXED_PARAMS)
    build = METHODS[method].losses
    return backend.trainer(lambda F: build(F, cfg), backend.devices(""), args, auxs, names, optimizer(cfg))


def losses_of(trainer, batches) -> list[list[float]]:
    """The losses of each step."""
    rows = []
    for batch in batches:
        (outputs,) = trainer.step([batch], 0.002)
        metrics = detection_metrics(outputs, batch)
        rows.append([float(metrics[name][0] / metrics[name][1]) for name in NAMES])
    return rows


@pytest.fixture(params=BACKENDS)
def name(request):
    needs(request.param)
    return request.param


@pytest.mark.parametrize("method, kind", CASES)
def test_losses_of_twenty_steps(name, method, kind, tmp_path):
    cfg, (args, auxs), batches = problem(method, kind, tmp_path)
    trainer = trainer_of(make_backend(name, cfg), method, cfg, args, auxs)
    found = losses_of(trainer, batches)
    expected = json.loads(LOSSES.read_text())[f"{method}/{kind}"]
    assert len(found) == len(expected) == STEPS
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    after, changed = trainer.params()[0], trainable(args, cfg.network.FIXED_PARAMS)
    frozen = [each for each in args if each not in changed]
    assert frozen and changed
    for each in frozen:
        np.testing.assert_array_equal(after[each], args[each], err_msg=each)


@pytest.mark.parametrize("maker", BACKENDS)
def test_a_checkpoint_of_either_backend_continues_in_both(name, maker, tmp_path):
    cfg, _, batches = problem("fgfa_rfcn", "momentum", tmp_path)
    half = Checkpoints(HALFWAY / maker).newest()
    assert half.step == HALF
    expected = json.loads(LOSSES.read_text())["fgfa_rfcn/momentum"][HALF:]

    def rest(state: dict) -> np.ndarray:
        trainer = trainer_of(make_backend(name, cfg), "fgfa_rfcn", cfg, half.args, half.auxs)
        trainer.load_state(state)
        return np.array(losses_of(trainer, batches[HALF:]))

    np.testing.assert_allclose(rest(half.optimizer), expected, rtol=1e-4, atol=1e-6)
    assert np.abs(rest({}) / expected - 1).max() > 1e-3  # without the momentum


def main(name: str) -> None:
    result = {}
    for method, kind in CASES if name == "mxnet" else [("fgfa_rfcn", "momentum")]:
        with tempfile.TemporaryDirectory() as folder:
            cfg, (args, auxs), batches = problem(method, kind, Path(folder))
        trainer = trainer_of(make_backend(name, cfg), method, cfg, args, auxs)
        rows = losses_of(trainer, batches[:HALF])
        if (method, kind) == ("fgfa_rfcn", "momentum"):
            Checkpoints(HALFWAY / name).save(Checkpoint(0, HALF, *trainer.params(), trainer.state()))
        result[f"{method}/{kind}"] = rows + losses_of(trainer, batches[HALF:])
    if name == "mxnet":
        rows = (f"{json.dumps(key)}: [\n" + ",\n".join(map(json.dumps, value)) + "\n]" for key, value in result.items())
        LOSSES.write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1])
