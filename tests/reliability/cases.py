"""The commands that the kill tests and the full-disk tests run, on a tiny dataset and tiny networks."""

from __future__ import annotations

import functools
import importlib.util
import json
import runpy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import lib.peers
import lib.training.train
from lib.config import load_config
from lib.dataset.exporting import coco
from lib.inference.evaluate import evaluate_detector
from lib.methods import METHODS
from lib.minivid.settings import Settings
from lib.minivid.write import generate
from lib.nets import params
from lib.training.fit import fit
from tests import tiny
from tests.jobs import ranks, roles

TRAINING = {"rfcn": "TRAIN.end_epoch=2", "fgfa_rfcn": "TRAIN.end_epoch=3", "dff_rfcn": "TRAIN.end_epoch=2"}
BACKENDS = [name for name in ("mxnet", "torch") if importlib.util.find_spec(name)]
# Training in several processes: who starts them, and the variables of two that train.
TOGETHER = {"mxnet": ("dist_sync", lambda: roles(2)), "torch": ("torchrun", lambda: ranks(2))}
START, GRACE = 20.0, 3.0  # as in lib.peers, but sooner
DEMO = ["--json", "d.jsonl", "--csv", "d.csv", "--coco", "d.json", "--imagenet", "d.txt"]


@dataclass(frozen=True)
class Case:
    """A command: `call(argv)` runs it, with `resumed` to continue what a killed one began. It writes below one folder.

    complete: what it refuses to overwrite, and which is complete if it exists. processes: returns the environment
    variables of each process that runs the command.
    """

    call: Callable[[list[str]], None]
    argv: list[str]
    resumed: list[str] = field(default_factory=list)
    complete: Path | None = None
    backend: str = tiny.BACKEND
    processes: Callable[[], list[dict[str, str]]] = lambda: [{}]


def prepare(folder: Path) -> None:
    """Writes what the commands read to `folder`: MiniVID, its COCO file, settings, weights, a detection file."""
    settings = Settings(seed=1, train=2, val=2, frames=4, height=64, width=96)
    data = generate(folder / "MiniVID", settings, workers=1, progress=False)
    (folder / "coco.json").write_text(json.dumps(coco.coco(data, ["train", "val"])))
    for name, method in METHODS.items():
        cfgs = folder / name / "cfgs"
        cfgs.mkdir(parents=True)
        offsets = {"MIN_OFFSET": -1, "MAX_OFFSET": 1} if name == "fgfa_rfcn" else {}
        path = tiny.write_experiment(cfgs, data, name, TRAIN=offsets)
        cfg = load_config(path, schema=method.schema)
        params.save(folder / f"{name}-0000.params", *tiny.weights(cfg, name))
    cfg = load_config(folder / "rfcn/cfgs/rfcn.yaml", schema=METHODS["rfcn"].schema)
    evaluate_detector(cfg, METHODS["rfcn"].detector.load, folder / "rfcn-0000.params", folder / "tested")


def cases(inputs: Path, work: Path) -> dict[str, Case]:
    """The commands by name: they read from `inputs` and write below `work`."""
    data, out = inputs / "MiniVID", f"output_path={work}"
    cfg = {name: str(inputs / name / "cfgs" / f"{name}.yaml") for name in METHODS}
    stages = {
        "backbone": [*(f"BACKBONE.{each}" for each in ("pool=48", "batch=8", "steps=12", "crop=32")), out],
        "flow": [*(f"FLOW.{each}" for each in ("pool=16", "batch=4", "steps=12")), out],
    }
    paths = [f"network.pretrained={work}/net/backbone", f"network.pretrained_flow={work}/net/flow"]
    found = {
        f"train {name}": Case(
            _saving_always(_script(f"experiments/{name}/{name}_end2end_train_test.py")),
            ["--cfg", cfg[name], "--set", out, TRAINING[name]],
            ["--resume"],
        )
        for name in TRAINING
    }
    for backend, (starter, processes) in TOGETHER.items():
        if backend in BACKENDS:
            settings = [f"backend={backend}", *(["default.kvstore=dist_sync"] if backend == "mxnet" else [])]
            found[f"train by {starter}"] = replace(
                found["train rfcn"],
                argv=[*found["train rfcn"].argv, *settings],
                backend=backend,
                processes=processes,
            )
    for stage, values in stages.items():
        argv = [stage, "--cfg", cfg["fgfa_rfcn"], "--set", *values, *paths]
        found[f"pre-train {stage}"] = Case(_script("experiments/minivid/pretrain.py"), argv, ["--resume"])
    for what, method, share in (("test", "rfcn", []), ("test a share", "dff_rfcn", ["--shard", "1/2"])):
        found[what] = Case(
            _script(f"experiments/{method}/{method}_test.py"),
            ["--cfg", cfg[method], "--weights", str(inputs / f"{method}-0000.params"), *share, "--set", out],
        )
    files = [str(work / each) if "." in each else each for each in DEMO]
    found["demo"] = Case(
        _script("rfcn/demo.py"),
        [
            *("--cfg", cfg["rfcn"], "--weights", str(inputs / "rfcn-0000.params"), "--threshold", "0", "--track"),
            *("--input", str(data / "Data/VID/val/MiniVID_val_0000"), "--output", str(work / "o"), str(work / "a.mp4")),
            *files,
        ],
        ["--resume"],
    )
    found["import"] = Case(
        _module("lib.dataset.importing.coco"),
        ["--json", str(inputs / "coco.json"), "--media", str(data / "Data/VID"), "--out", str(work / "data")],
        complete=work / "data",
    )
    found["lists"] = Case(_module("lib.dataset.lists"), ["--root", str(data), "--out", str(work / "lists")])
    evaluated = [
        *("--annotations", str(data / "Annotations/VID"), "--image-set", str(data / "ImageSets/VID_val_frames.txt")),
        *("--detections", str(inputs / "tested/detections.txt"), "--cache", str(work / "cache"), "--workers", "1"),
        *("--json", str(work / "r.json"), "--markdown", str(work / "r.md"), "--pictures", str(work / "pictures")),
    ]
    found["evaluation"] = Case(_module("lib.eval.vid_map"), evaluated)
    return found


def _script(path: str) -> Callable[[list[str]], None]:
    return lambda argv: runpy.run_path(str(tiny.ROOT / path))["main"](argv)


def _module(name: str) -> Callable[[list[str]], None]:
    return lambda argv: importlib.import_module(name).main(argv)


def _saving_always(call: Callable[[list[str]], None]) -> Callable[[list[str]], None]:
    """Training that saves its state after every step instead of every half hour, and waits less for its processes."""

    def changed(argv: list[str]) -> None:
        lib.peers.START, lib.peers.GRACE = START, GRACE
        lib.training.train.fit = functools.partial(fit, save_minutes=0.0)
        call(argv)

    return changed
