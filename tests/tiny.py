"""A detector of a few thousand weights, and frames for it."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path

import numpy as np
import pytest
import yaml
from easydict import EasyDict

from lib.backends.choice import backend_of
from lib.config import make_config
from lib.methods import METHODS
from lib.nets import params
from lib.nets.flownet import is_flow_layer
from tests import recipe

ROOT = Path(__file__).parents[1]
TRAIN_LIST = "VID_train_15frames"
BACKEND = "mxnet" if importlib.util.find_spec("mxnet") else "torch"  # the one that `auto` takes
CLASSES = 4  # with the background
# Images of a training example, where it has more than `data`
FRAMES = {"fgfa_rfcn": ("data", "data_bef", "data_aft"), "dff_rfcn": ("data", "data_ref")}

SETTINGS = {
    "SCALES": [48, 80],
    "network": {
        "UNITS": [1, 1, 1, 1],
        "WIDTHS": [4, 4, 8, 8],
        "STRIDES": [1, 2, 1, 1],
        "STEM": 8,
        "FEAT_DIM": 16,
        "FEAT_DILATION": 2,
        "PSROI_SIZE": 3,
        "RPN_FEAT_STRIDE": 8,
        "RCNN_FEAT_STRIDE": 8,
        "FIXED_PARAMS": ["conv1", "res2", "bn"],
        "ANCHOR_SCALES": [2, 4],
        "ANCHOR_RATIOS": [1],
        "EMBED_DIMS": [8, 8, 8],
        "FLOW_ENCODER": [4, 4, 6, 6],
        "FLOW_DECODER": [4, 4],
        "FLOW_POOL_OUTPUT": False,
    },
    "dataset": {"NUM_CLASSES": CLASSES},
    "TRAIN": {"RPN_PRE_NMS_TOP_N": 60, "RPN_POST_NMS_TOP_N": 20, "BATCH_ROIS_OHEM": 8, "RPN_BATCH_SIZE": 16},
    # Every roi comes out as a detection of every class, so that rounding alone cannot change their number.
    "TEST": {
        "RPN_PRE_NMS_TOP_N": 60,
        "RPN_POST_NMS_TOP_N": 20,
        "NMS": 1.0,
        "SCORE_THRESH": 0.0,
        "max_per_image": 10000,
    },
}


def nested(**changes: dict) -> dict:
    """SETTINGS with sections updated: nested(TEST={"KEY_FRAME_INTERVAL": 2})."""
    changed = {**SETTINGS, **{name: {**SETTINGS.get(name, {}), **values} for name, values in changes.items()}}
    return {name: dict(values) if isinstance(values, dict) else values for name, values in changed.items()}


def known(method: str, values: dict) -> dict:
    """The values without keys of the networks that the method does not have."""
    keys = METHODS[method].schema.tree["network"]
    return {**values, "network": {name: value for name, value in values["network"].items() if name in keys}}


def settings(method: str = "fgfa_rfcn", **changes: dict) -> EasyDict:
    return make_config(known(method, nested(**changes)), METHODS[method].schema)


def load(cfg: EasyDict, args: dict, auxs: dict, method: str = "fgfa_rfcn", **options):
    """A method's detector on the CPU, by these parameters."""
    backend = options.pop("backend", None) or backend_of(cfg)
    (device,) = backend.devices("")
    precision = options.pop("precision", None) or backend.precision("float32", "")
    return METHODS[method].detector(
        cfg=cfg, args=args, auxs=auxs, backend=backend, device=device, precision=precision, **{"batch": 1, **options}
    )


def inputs(cfg: EasyDict, height: int = 48, width: int = 64, frames: tuple = ("data",)) -> dict:
    """A training batch of noise with one box, its labels drawn at random."""
    rng = np.random.default_rng(height * 1000 + width)
    cells = -(-height // 8), -(-width // 8)
    anchors = cfg.network.NUM_ANCHORS
    label = rng.choice([-1, 0, 1], (1, anchors, *cells), p=[0.7, 0.2, 0.1])
    batch = {name: rng.normal(0, 50, (1, 3, height, width)) for name in frames}
    batch.update(
        im_info=np.array([[height, width, 1]]),
        gt_boxes=np.array([[[5, 6, 30, 35, 1], [20, 10, 44, 28, 3]]]),
        label=label.reshape(1, -1),
        bbox_target=rng.normal(size=(1, 4 * anchors, *cells)),
        bbox_weight=np.repeat(label == 1, 4, axis=1),
    )
    if "data_ref" in frames:
        batch["eq_flag"] = np.zeros(1)
    return {name: np.asarray(value, np.float32) for name, value in batch.items()}


def weights(cfg: EasyDict, method: str = "fgfa_rfcn") -> tuple[dict, dict]:
    """(args, auxs) by the recipe of the golden figures, whose outputs are lively; FGFA's include R-FCN's."""
    shapes = {name: value.shape for name, value in inputs(cfg, frames=FRAMES.get(method, ("data",))).items()}
    wanted = backend_of(cfg).shapes(lambda F: METHODS[method].losses(F, cfg), **shapes)
    return tuple({name: recipe.weights(name, shape) for name, shape in part.items()} for part in wanted)


def clip(count: int, height: int = 48, width: int = 64, seed: int = 0) -> list[np.ndarray]:
    """Frames (height, width, 3) BGR uint8: a texture that moves by (3, 2) pixels a frame under noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 230, (height // 8 + 20, width // 8 + 20, 3))
    texture = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)
    frames = []
    for number in range(count):
        y, x = 2 * number % 64, 3 * number % 64
        noise = rng.integers(0, 25, (height, width, 3))
        frames.append((texture[y : y + height, x : x + width] + noise).astype(np.uint8))
    return frames


class After:
    """An event that is set after some steps."""

    def __init__(self, steps: int):
        self.left = steps

    def is_set(self) -> bool:
        self.left -= 1
        return self.left <= 0


def run_script(path: str, *argv: object) -> None:
    """`main` of an entry script of the repository, in this process."""
    runpy.run_path(str(ROOT / path))["main"]([str(arg) for arg in argv])


def refused(capsys, path: str, *argv: object) -> str:
    """The line that a script ends with, with exit status 2, for bad input."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        run_script(path, *argv)
    assert left.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


def write_experiment(folder: Path, dataset: Path, method: str = "rfcn", **changes: dict) -> Path:
    """Writes a YAML file of SETTINGS, and the weights that training starts from -> its path. Output goes to
    folder/output.
    """
    values = known(method, nested(**changes))
    values["output_path"] = str(folder / "output")
    values["network"].update({"pretrained": str(folder / "backbone"), "pretrained_flow": str(folder / "flow")})
    values["dataset"] = {"dataset": "Tiny", "dataset_path": str(dataset), "NUM_CLASSES": 9, "image_set": TRAIN_LIST}
    values["TRAIN"] = {"lr": 1e-3, "end_epoch": 2, "FLIP": False, "model_prefix": "tiny", **values["TRAIN"]}
    test = {"KEY_FRAME_INTERVAL": 1, "NMS": 0.3, "SCORE_THRESH": 0.05}
    values["TEST"] = {**values["TEST"], **test, **changes.get("TEST", {})}
    path = folder / f"{method}.yaml"
    path.write_text(yaml.safe_dump(values))
    args, auxs = weights(make_config(values, METHODS[method].schema), method)
    old = {name: value for name, value in args.items() if not name.startswith(tuple(METHODS[method].new_layers))}
    flow = {name: value for name, value in old.items() if is_flow_layer(name)}
    backbone = {name: value for name, value in old.items() if name not in flow}
    params.save(folder / "backbone-0000.params", backbone, auxs)
    if flow:
        params.save(folder / "flow-0000.params", flow, {})
    return path


def training(folder: Path, method: str) -> Path:
    """Where an experiment of `write_experiment` keeps its checkpoints."""
    return folder / "output" / method / "Tiny" / method / "VID_train_15frames"


def parameters(path: Path) -> dict:
    """Parameters and auxiliary states of a file."""
    args, auxs = params.load(path)
    return {**args, **auxs}


def resumed_equals(trained: Path, folder: Path, dataset: Path, method: str = "rfcn", **changes: dict) -> None:
    """Fails unless training in `folder`, stopped after an epoch and resumed, ends as the one in `trained` did."""
    script = f"experiments/{method}/{method}_end2end_train_test.py"
    cfg = write_experiment(folder, dataset, method, **changes)
    run_script(script, "--cfg", cfg, "--set", "TRAIN.end_epoch=1")
    run_script(script, "--cfg", cfg, "--resume")
    folders = training(folder, method), training(trained, method)
    assert len({(each / "losses.jsonl").read_text() for each in folders}) == 1
    found, expected = (parameters(each / "tiny-0002.params") for each in folders)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
