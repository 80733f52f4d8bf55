"""A detector as a pair of files: settings and weights under one name, for use from Python.

`model/minivid/fgfa` stands for `model/minivid/fgfa.yaml` and `model/minivid/fgfa-0000.params`; a `classes.txt` beside
them holds the class list.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from easydict import EasyDict

from lib.bbox.detections import Detections
from lib.cli.setup import classes_of
from lib.config import load_config
from lib.dataset.classes import ClassList
from lib.errors import InputError

_WEIGHTS = re.compile(r"(.+)-\d{4}\.params")


@dataclass(frozen=True)
class NamedDetections(Detections):
    """Detections that know what their classes are called. class_names: those of classes 1..C."""

    class_names: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The name of each detection's class."""
        return [self.class_names[number - 1] for number in self.classes]

    def to_supervision(self):
        """As `supervision.Detections`; class ids stay 1..C, names go to `data["class_name"]`.

        InputError: the package supervision is not installed.
        """
        try:
            supervision = importlib.import_module("supervision")
        except ModuleNotFoundError:
            raise InputError(
                "the package supervision is not installed: run `pip install supervision -c constraints.txt`"
            ) from None
        return supervision.Detections(
            xyxy=self.boxes, confidence=self.scores, class_id=self.classes, data={"class_name": self.names}
        )


def named(detections: Detections, names: Sequence[str]) -> NamedDetections:
    return NamedDetections(detections.boxes, detections.scores, detections.classes, tuple(names))


class Pretrained(NamedTuple):
    """What `read_pretrained` found."""

    cfg: EasyDict
    weights: Path
    classes: ClassList


def read_pretrained(where: str | Path, settings: Sequence[str] = (), gpu: int | None = None) -> Pretrained:
    """Settings, weights and classes of a detector, from a prefix or from a folder that holds just one.

    settings: `KEY.PATH=VALUE` texts that win over the YAML. gpu: a GPU's number, None for the CPU, whatever the YAML
    says. The class list is `classes.txt` beside the weights, or what the YAML names. InputError: nothing there, more
    than one, half of one, or a class list of another length.
    """
    prefix = _prefix(Path(where))
    cfg_path, found = prefix.with_name(f"{prefix.name}.yaml"), _weights(prefix)
    if not cfg_path.is_file():
        raise InputError(f"{cfg_path}: not there, and the weights {found[-1]} need it; it is the YAML they belong to")
    cfg = load_config(cfg_path, settings)
    cfg.gpus = "" if gpu is None else str(gpu)
    beside = prefix.with_name("classes.txt")
    if beside.is_file():
        cfg.dataset.CLASSES = str(beside)
    return Pretrained(cfg, found[-1], classes_of(cfg))


def _weights(prefix: Path) -> list[Path]:
    """The weights of a prefix, the last epoch last."""
    candidates = sorted(prefix.parent.glob(f"{prefix.name}-*.params"))
    return [path for path in candidates if _WEIGHTS.fullmatch(path.name)]


def _prefix(where: Path) -> Path:
    if not where.is_dir():
        if not _weights(where):
            raise InputError(
                f"{where}: no weights {where.name}-0000.params in {where.parent}; give the start of their name, or the "
                "folder that holds them"
            )
        return where
    prefixes = sorted({found.group(1) for found in map(_WEIGHTS.fullmatch, _names(where)) if found})
    if len(prefixes) != 1:
        what = f"weights of {', '.join(prefixes)}" if prefixes else "no weights NAME-0000.params"
        raise InputError(f"{where}: holds {what}; give one of them, such as {where / (prefixes or ['NAME'])[0]}")
    return where / prefixes[0]


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
