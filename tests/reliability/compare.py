"""What is left after a kill: every file is whole, and after `--resume` they equal those of an uninterrupted run."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import yaml
from PIL import Image

from lib.nets import params_file
from tests.video.results import film_frames

HIDDEN = "."  # temporary files, and locks of dead processes


def broken(folder: Path) -> list[str]:
    """A line for each file below `folder` that is not whole. Files that grow may end in half a line or fragment."""
    faults = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(HIDDEN) for part in path.relative_to(folder).parts)
        read = READERS.get(path.suffix.lower())
        if hidden or not path.is_file() or read is None:
            continue
        try:
            read(path)
        except Exception as error:  # whatever a reader raises, the file is broken
            faults.append(f"{path.relative_to(folder)} is broken: {error!r}")
    return faults


def differences(folder: Path, reference: Path, *, tolerance: float = 0.0) -> list[str]:
    """A line for each file of `folder` that differs from `reference`, is missing there or is left over.

    tolerance: of weights and states, relative and absolute.
    """
    names, expected = _files(folder), _files(reference)
    faults = [f"{name} is missing" for name in sorted(expected - names)]
    faults += [f"{name} is left over" for name in sorted(names - expected)]
    for name in sorted(names & expected):
        suffix = Path(name).suffix.lower()
        if suffix == ".log" or (suffix == ".png" and "losses" in name):  # they have times in them
            continue
        try:
            same = _same(folder / name, reference / name, _reader(suffix), tolerance)
        except Exception as error:
            faults.append(f"{name} is broken: {error!r}")
            continue
        if not same:
            faults.append(f"{name} differs")
    return faults


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _reader(suffix: str) -> Callable:
    """Of a finished file. Films are compared by the number of frames, since encoding starts again after a kill."""
    return (lambda path: len(film_frames(path)[1])) if suffix == ".mp4" else READERS.get(suffix, Path.read_bytes)


def _same(one: Path, other: Path, read: Callable, tolerance: float) -> bool:
    a, b = read(one), read(other)
    if one.suffix in (".params", ".npz"):
        return a.keys() == b.keys() and all(
            "sha256" in key or _close(value, b[key], tolerance) for key, value in a.items()
        )
    if isinstance(a, dict):
        for each in (a, b):
            about = each.get("manifest") or {}
            for name in ("time", "command"):
                about.pop(name, None)
            for settings in (each, about.get("config") or {}):
                settings.get("TRAIN", {}).pop("RESUME", None)
    if tolerance and one.name == "losses.jsonl":
        return [(line["epoch"], line["step"]) for line in a] == [(line["epoch"], line["step"]) for line in b]
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else a == b


def _close(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    if not tolerance or a.dtype.kind != "f":
        return np.array_equal(a, b)
    return a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _picture(path: Path) -> np.ndarray:
    found = cv2.imread(str(path))
    if found is None:
        raise ValueError("not a picture")
    return found


def _animation(path: Path) -> int:
    with Image.open(path) as found:
        for number in range(found.n_frames):
            found.seek(number)
        return found.n_frames


READERS: dict[str, Callable] = {
    ".params": params_file.read,
    ".npz": _arrays,
    ".json": lambda path: json.loads(path.read_text()),
    ".jsonl": _lines,
    ".yaml": lambda path: yaml.safe_load(path.read_text()),
    ".xml": lambda path: ElementTree.parse(path) and path.read_bytes(),
    ".jpeg": _picture,
    ".jpg": _picture,
    ".png": _picture,
    ".gif": _animation,
}
