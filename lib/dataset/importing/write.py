"""Writes imported videos as a dataset in the layout of ImageNet VID, whole or not at all."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from tqdm import tqdm

from lib.dataset import motion
from lib.dataset.annotation import Object
from lib.dataset.classes import ClassList, alike
from lib.dataset.importing.clips import DIGITS, Found, Video, class_list, resolved, unique_names
from lib.dataset.importing.frames import Writing
from lib.dataset.index import build_index
from lib.dataset.lists import find_clips, frames_lines, read_image_ids, train_lines, videos_lines
from lib.errors import InputError

logger = logging.getLogger(__name__)

MOTION = "motion.json"


def held_out(names: Sequence[str], share: float, seed: int) -> set[str]:
    """Videos to test on: `share` of them, drawn by `seed`; at least one and never all. None where share is 0.

    InputError: a share that is not in 0..1, or one video alone, of which none can be held out.
    """
    if not 0 <= share < 1:
        raise InputError(f"--val-share {share:g}: give a share from 0 to below 1, say 0.2")
    if share == 0:
        return set()
    if len(names) < 2:
        raise InputError("one video alone: none can be held out for testing; give more, or --val-share 0 to only train")
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    ordered = sorted(names)
    return {ordered[place] for place in np.random.default_rng(seed).permutation(len(ordered))[:count]}


def write_dataset(
    out: Path, found: Found, val: set[str], *, source: str, given: ClassList | None = None, writing: Writing
) -> Counter:
    """Makes the dataset at `out`; returns how many objects were left out, by reason.

    val: names of the videos of the val split. It grows in a hidden folder beside `out`, which is renamed when complete,
    and removed where anything fails. InputError: `out` is there already; whatever is wrong with frames or annotations.
    """
    classes, class_ids = class_list(found.names, given, source)
    names = unique_names((video.name for video in found.videos), "videos", source)
    if len(names) < len(found.videos):
        twice = next(name for name, count in Counter(video.name for video in found.videos).items() if count > 1)
        raise InputError(f"{source}: two videos are called {twice}; rename one")
    dropped = Counter(found.dropped)
    counts: dict[str, Counter] = {"train": Counter(), "val": Counter()}
    with _growing(out) as root:
        for video in tqdm(found.videos, desc="importing", unit=" videos", disable=None):
            split = "val" if video.name in val else "train"
            counts[split].update(_write_video(root, split, names[video.name], video, class_ids, dropped, writing))
        _write_lists(root, classes)
    for text, name in names.items():
        if text != name:
            logger.info("video %s is called %s here", text, name)
    _tell_classes(classes, counts)
    _tell_left_out(found.names, class_ids, classes)
    return dropped


@contextmanager
def _growing(out: Path) -> Iterator[Path]:
    out = Path(os.path.abspath(out))
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: is there already and is not overwritten; remove it or choose another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        root = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise InputError(f"{out}: cannot be made ({error.strerror}); choose another --out") from error
    try:
        yield root
        umask = os.umask(0)
        os.umask(umask)
        root.chmod(0o777 & ~umask)
        if out.is_dir():
            out.rmdir()  # it is empty
        root.rename(out)
    except BaseException as error:
        shutil.rmtree(root, ignore_errors=True)
        if isinstance(error, OSError):  # a full disk, say
            what = f"{error.filename or out}: {error.strerror or error}"
            raise InputError(f"{what}; {out} was not written") from error
        raise


def _write_video(
    root: Path,
    split: str,
    name: str,
    video: Video,
    class_ids: Mapping[str, str],
    dropped: Counter,
    writing: Writing,
) -> Counter:
    """Pictures and annotations of one video -> number of objects of each class id."""
    pictures, texts = (root / part / "VID" / split / name for part in ("Data", "Annotations"))
    for folder in (pictures, texts):
        folder.mkdir(parents=True)
    sizes = dict(video.frames.write(pictures, writing))
    if not sizes:
        raise InputError(f"{video.frames.where}: no frame in it; leave the video out")
    objects = resolved(video, sizes, class_ids, dropped)
    for frame, size in sizes.items():
        text = annotation(f"{split}/{name}", f"{frame:06d}", size, objects.get(frame, ()))
        (texts / f"{frame:06d}.xml").write_text(text, encoding="utf-8")
    return Counter(thing.class_id for things in objects.values() for thing in things)


def annotation(folder: str, name: str, size: tuple[int, int], objects: Iterable[Object]) -> str:
    """The XML of one frame, in the form of ImageNet VID's."""
    lines = [
        "<annotation>",
        f"  <folder>{escape(folder)}</folder>",
        f"  <filename>{name}</filename>",
        f"  <size><width>{size[0]}</width><height>{size[1]}</height></size>",
    ]
    for each in objects:
        x1, y1, x2, y2 = (_number(value) for value in each.box)
        lines += [
            "  <object>",
            f"    <trackid>{each.track}</trackid>",
            f"    <name>{escape(each.class_id)}</name>",
            f"    <bndbox><xmax>{x2}</xmax><xmin>{x1}</xmin><ymax>{y2}</ymax><ymin>{y1}</ymin></bndbox>",
            f"    <occluded>{int(each.occluded)}</occluded>",
            f"    <generated>{int(each.generated)}</generated>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def _number(value: float) -> str:
    return f"{value:.{DIGITS}f}".rstrip("0").rstrip(".")


def _write_lists(root: Path, classes: ClassList) -> None:
    """classes.txt, ImageSets and the motion file of a folder that holds the videos."""
    lists = {}
    splits = [split for split in ("train", "val") if (root / "Data" / "VID" / split).is_dir()]
    for split in splits:
        clips = find_clips(root, split)
        if split == "train":
            lists["VID_train_15frames"] = train_lines(clips)
        else:
            lists["VID_val_videos"] = videos_lines(clips)
            lists["VID_val_frames"] = frames_lines(clips)
    folder = root / "ImageSets"
    folder.mkdir()
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    rows = zip(classes.ids, classes.names, classes.colours)
    text = "".join(f"{class_id} {name} #{bytes(colour).hex()}\n" for class_id, name, colour in rows)
    (root / "classes.txt").write_text(text, encoding="utf-8")
    if "val" in splits:
        image_ids = read_image_ids(folder / "VID_val_frames.txt")
        index = build_index(root / "Annotations" / "VID", image_ids, classes, workers=1)
        motion.save(root / MOTION, image_ids, motion.per_frame(index, motion.motion_iou(index)))


def _tell_classes(classes: ClassList, counts: Mapping[str, Counter]) -> None:
    for class_id, name in zip(classes.ids, classes.names):
        train, val = (counts[split][class_id] for split in ("train", "val"))
        logger.info("class %s: %d objects to train on, %d to test on", name, train, val)
    missing = [name for class_id, name in zip(classes.ids, classes.names) if not counts["train"][class_id]]
    if missing:
        logger.warning(
            "no object to train on: %s; leave the class out by --classes, or move videos", ", ".join(missing)
        )
    for one, other in itertools.combinations(classes.names, 2):
        if alike(one, other):
            logger.warning("classes %s and %s: two, or one misspelt? If so, correct the annotations", one, other)


def _tell_left_out(names: Sequence[str], class_ids: Mapping[str, str], classes: ClassList) -> None:
    """Names of the source that the user's list has not, those first that look like a misspelt class of it."""
    told = []
    for name in names:
        if name not in class_ids:
            meant = next((each for each in classes.names if alike(name, each)), None)
            told.append((meant is None, f"{name} (did you mean {meant}?)" if meant else name))
    if told:
        first = ", ".join(text for _, text in sorted(told, key=lambda each: each[0])[:8])
        logger.warning("not in --classes: %s", first + (f" and {len(told) - 8} more" if len(told) > 8 else ""))
