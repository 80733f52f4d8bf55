"""Writes a MiniVID dataset in the layout of ImageNet VID."""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
from tqdm import tqdm

from lib.dataset.index import parallel
from lib.dataset.lists import frames_lines, train_lines, videos_lines
from lib.errors import InputError
from lib.machine import cores

from . import sprites
from .scene import Object, frames, scene_of
from .settings import FILE, Settings

log = logging.getLogger(__name__)

QUALITY = 92  # JPEG quality
_COLOURS = ("#1f77b4", "#d62728", "#e6b800", "#ff7f0e", "#8c564b", "#9467bd", "#2ca02c", "#e377c2")


def class_id(label: int) -> str:
    """The id of a class (1..C) in XML files and in classes.txt."""
    return f"mv{label:02d}"


def clip_name(split: str, index: int) -> str:
    """The folder name of a clip."""
    return f"MiniVID_{split}_{index:04d}"


def generate(out: str | os.PathLike, settings: Settings, workers: int = 0, progress: bool = True) -> Path:
    """Generates the dataset at `out` and returns its path; does nothing if it already exists.

    Clips are written to a hidden folder beside `out`, which is renamed when complete; an interrupted run continues with
    the missing clips. workers: number of processes, 0: one per core; the files do not depend on it. Raises InputError
    if `out` is anything else or a dataset with other settings, or if another process is generating it.
    """
    out = Path(os.path.abspath(out))
    settings.check()
    if _already_there(out, settings):
        log.info("%s is already complete", out)
        return out
    with _workshop(out, settings) as folder:
        jobs = [(split, index) for split, count in settings.clips.items() for index in range(count)]
        missing = [job for job in jobs if not _annotations(folder, *job).is_dir()]
        make = functools.partial(_write_clip, folder, settings)
        with tqdm(
            total=len(jobs),
            initial=len(jobs) - len(missing),
            unit="clip",
            desc=out.name,
            mininterval=1,
            disable=not progress,
        ) as bar:
            for _ in _run(make, missing, workers or cores()):
                bar.update()
        _write_lists(folder, settings)
        if out.is_dir():
            out.rmdir()  # it is empty
        folder.rename(out)
    return out


def _already_there(out: Path, settings: Settings) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not (out / FILE).is_file():
        raise InputError(f"{out}: exists and is not a MiniVID dataset; choose another --out")
    difference = Settings.load(out).difference(settings)
    if difference:
        raise InputError(f"{out}: made with other settings ({difference}); remove it or choose another --out")
    return True


@contextmanager
def _workshop(out: Path, settings: Settings) -> Iterator[Path]:
    """The hidden folder for an unfinished dataset, locked by this process; clips of other settings are removed."""
    folder = out.parent / f".{out.name}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{folder}: another process is generating this dataset; wait for it to finish") from error
        if any(not entry.name.startswith(".") for entry in folder.iterdir()):
            if not (folder / FILE).is_file():
                raise InputError(f"{folder}: exists and is not an unfinished MiniVID dataset; move it elsewhere")
            if Settings.load(folder) != settings:
                for entry in ("Data", "Annotations", "ImageSets"):
                    shutil.rmtree(folder / entry, ignore_errors=True)
        settings.write(folder)
        yield folder
    finally:
        os.close(handle)


def _run(make: functools.partial, jobs: list[tuple[str, int]], workers: int) -> Iterator[None]:
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(make, jobs)
        return
    yield from parallel(functools.partial(_single_threaded, make), jobs, workers)


def _single_threaded(make: functools.partial, job: tuple[str, int]) -> None:
    cv2.setNumThreads(1)
    make(job)


def _annotations(root: Path, split: str, index: int) -> Path:
    return root / "Annotations" / "VID" / split / clip_name(split, index)


def _write_clip(root: Path, settings: Settings, job: tuple[str, int]) -> None:
    """Writes one clip. Its annotation folder is renamed into place last, which marks the clip as complete."""
    split, index = job
    pictures = root / "Data" / "VID" / split / clip_name(split, index)
    annotations = _annotations(root, split, index)
    draft = annotations.with_name(f".{annotations.name}")
    for folder in (pictures, draft):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for number, (image, objects) in enumerate(frames(scene_of(settings, split, index))):
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        (pictures / f"{number:06d}.JPEG").write_bytes(data.tobytes())
        text = annotation(f"{split}/{clip_name(split, index)}", f"{number:06d}", settings, objects)
        (draft / f"{number:06d}.xml").write_text(text)
    draft.rename(annotations)


def annotation(folder: str, name: str, settings: Settings, objects: list[Object]) -> str:
    """The XML of one frame, in the format of ImageNet VID."""
    lines = [
        "<annotation>",
        f"  <folder>{folder}</folder>",
        f"  <filename>{name}</filename>",
        "  <source><database>MiniVID</database></source>",
        f"  <size><width>{settings.width}</width><height>{settings.height}</height></size>",
    ]
    for each in objects:
        x1, y1, x2, y2 = each.box
        lines += [
            "  <object>",
            f"    <trackid>{each.track}</trackid>",
            f"    <name>{class_id(each.label)}</name>",
            f"    <bndbox><xmax>{x2}</xmax><xmin>{x1}</xmin><ymax>{y2}</ymax><ymin>{y1}</ymin></bndbox>",
            f"    <occluded>{int(each.occluded)}</occluded>",
            "    <generated>0</generated>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def _write_lists(root: Path, settings: Settings) -> None:
    train, val = (
        [(f"{split}/{clip_name(split, index)}", settings.frames) for index in range(settings.clips[split])]
        for split in ("train", "val")
    )
    classes = [f"{class_id(label)} {name} {_COLOURS[label - 1]}" for label, name in enumerate(sprites.NAMES, 1)]
    lists = root / "ImageSets"
    lists.mkdir(exist_ok=True)
    for path, lines in (
        (lists / "VID_train_15frames.txt", train_lines(train)),
        (lists / "VID_val_videos.txt", videos_lines(val)),
        (lists / "VID_val_frames.txt", frames_lines(val)),
        (root / "classes.txt", classes),
    ):
        path.write_text("".join(f"{line}\n" for line in lines))
