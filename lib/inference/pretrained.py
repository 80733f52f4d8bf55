"""Pretrained detectors, as files with a common prefix.

`model/minivid/fgfa` stands for the settings `model/minivid/fgfa.yaml` and the weights
`model/minivid/fgfa-0000.params`. The class list is `classes.txt` in the same folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from easydict import EasyDict

from lib.config import Schema, load_config
from lib.dataset.classes import ClassList
from lib.errors import InputError
from lib.settings import classes_of

_WEIGHTS = re.compile(r"(.+)-\d{4}\.params")


class Pretrained(NamedTuple):
    """The result of `read_pretrained`."""

    cfg: EasyDict
    weights: Path
    classes: ClassList


def read_pretrained(where: str | Path, settings: Sequence[str], gpu: int | None, schema: Schema) -> Pretrained:
    """Read the settings, weights and classes of a detector, given its prefix or a folder with a single detector.

    settings: overrides of the YAML file, as `KEY.PATH=VALUE`. gpu: the number of a GPU, None for the CPU; overrides
    the YAML file. schema: the settings of the method. The weights are those of the last epoch. The class list is
    `classes.txt` in the folder of the weights, otherwise the one that the YAML file names.

    Raises InputError if the detector is missing, incomplete or ambiguous, or if the class list has the wrong length.
    """
    prefix = _prefix(Path(where))
    cfg_path, found = prefix.with_name(f"{prefix.name}.yaml"), _weights(prefix)
    if not cfg_path.is_file():
        raise InputError(f"{cfg_path}: no such file; the weights {found[-1]} need their settings in this file")
    cfg = load_config(cfg_path, settings, schema)
    cfg.gpus = "" if gpu is None else str(gpu)
    beside = prefix.with_name("classes.txt")
    if beside.is_file():
        cfg.dataset.CLASSES = str(beside)
    return Pretrained(cfg, found[-1], classes_of(cfg))


def _weights(prefix: Path) -> list[Path]:
    """The weight files with a prefix, sorted by epoch."""
    candidates = sorted(prefix.parent.glob(f"{prefix.name}-*.params"))
    return [path for path in candidates if _WEIGHTS.fullmatch(path.name)]


def _prefix(where: Path) -> Path:
    if not where.is_dir():
        if not _weights(where):
            raise InputError(
                f"{where}: no weights {where.name}-0000.params in {where.parent}; pass their prefix or the folder that "
                "contains them"
            )
        return where
    prefixes = sorted({found.group(1) for found in map(_WEIGHTS.fullmatch, _names(where)) if found})
    if len(prefixes) != 1:
        what = f"weights of {', '.join(prefixes)}" if prefixes else "no weights NAME-0000.params"
        raise InputError(f"{where}: contains {what}; pass a prefix such as {where / (prefixes or ['NAME'])[0]}")
    return where / prefixes[0]


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
