"""What training, testing and scripts derive from the settings: class list, output folders, config.yaml of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from easydict import EasyDict

from lib.dataset.classes import ClassList
from lib.errors import InputError
from lib.files import replacing


def classes_of(cfg: EasyDict) -> ClassList:
    """The class list of the settings. Raises InputError if NUM_CLASSES does not match it."""
    data = cfg.dataset
    classes = ClassList.load(data.CLASSES) if data.CLASSES else ClassList.of_dataset(data.dataset_path)
    if len(classes) + 1 != data.NUM_CLASSES:
        raise InputError(
            f"dataset.NUM_CLASSES is {data.NUM_CLASSES}, but the class list has {len(classes)} classes; set it to "
            f"{len(classes) + 1}, which includes the background"
        )
    return classes


def output_folder(cfg: EasyDict, name: str, method: str, image_set: str) -> Path:
    """output/<method>/<dataset>/<name of the experiment>/<image set>."""
    return Path(cfg.output_path) / method / cfg.dataset.dataset / name / image_set.replace("+", "_")


def weights_path(cfg: EasyDict, folder: Path) -> Path:
    """The checkpoint after epoch TEST.test_epoch in the folder of a training."""
    return folder / f"{cfg.TRAIN.model_prefix}-{cfg.TEST.test_epoch:04d}.params"


def plain(value: Any) -> Any:
    """Settings as ordinary dicts and lists."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def keep_config(cfg: EasyDict, folder: Path) -> None:
    """Writes the settings, including defaults, to <folder>/config.yaml."""
    with replacing(folder / "config.yaml") as path:
        path.write_text(yaml.safe_dump(plain(cfg), sort_keys=False))
