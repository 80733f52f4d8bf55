"""Writes imported videos as a dataset in the ImageNet VID layout, completely or not at all."""

from __future__ import annotations

import itertools
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from tqdm import tqdm

from lib.dataset import motion
from lib.dataset.annotation import Object
from lib.dataset.classes import ClassList, alike, did_you_mean
from lib.dataset.importing.clips import Found, Video, class_list, decimal, resolved, unique_names
from lib.dataset.importing.frames import Writing
from lib.dataset.index import build_index
from lib.dataset.lists import read_image_ids, video_lists
from lib.errors import InputError, counted
from lib.files import new_folder

log = logging.getLogger(__name__)

MOTION = "motion.json"
COMPARED = 300  # class names that are searched for misspellings, which takes quadratic time


@dataclass
class Written:
    """What a dataset got. counts: objects by split and class id; dropped: what was left out, by reason."""

    dropped: Counter
    frames: int = 0
    tracks: int = 0
    counts: dict[str, Counter] = field(default_factory=lambda: {"train": Counter(), "val": Counter()})

    @property
    def objects(self) -> int:
        return sum(sum(counter.values()) for counter in self.counts.values())


def held_out(names: Sequence[str], share: float, seed: int) -> set[str]:
    """Videos to test on: a random `share` of them, but at least one and never all. Empty if share is 0.

    Raises InputError if share is not in 0..1 (1 excluded), or if there is only one video and share is not 0.
    """
    if not 0 <= share < 1:
        raise InputError(f"--val-share {share:g}: give a number from 0 to below 1, such as 0.2")
    if share == 0:
        return set()
    if len(names) < 2:
        raise InputError("only one video: none can be held out for testing; give at least two")
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    ordered = sorted(names)
    return {ordered[place] for place in np.random.default_rng(seed).permutation(len(ordered))[:count]}


def write_dataset(
    out: Path, found: Found, val: set[str], *, source: str, given: ClassList | None = None, writing: Writing
) -> Written:
    """Writes the dataset to `out` and counts what it got.

    val: names of the videos of the val split; source: where the annotations come from, for messages. The dataset is
    written to a hidden folder next to `out`, which is renamed when it is complete and removed if anything fails.
    Raises InputError if `out` exists and is not an empty folder, or anything is wrong with frames or annotations.
    """
    classes, class_ids = class_list(found.names, given, source)
    names = unique_names((video.name for video in found.videos), "videos", source)
    if len(names) < len(found.videos):
        ((twice, _),) = Counter(video.name for video in found.videos).most_common(1)
        raise InputError(f"{source}: two videos are named {twice}; rename one")
    written = Written(Counter(found.dropped))
    with _renamed_when_complete(out) as root:
        for video in tqdm(found.videos, desc="importing", unit=" videos", disable=None):
            split = "val" if video.name in val else "train"
            _write_video(root, split, names[video.name], video, class_ids, written, writing)
        _write_lists(root, classes)
    for text, name in names.items():
        if text != name:
            log.info("video %s is imported as %s", text, name)
    _log_classes(classes, written.counts, bool(val))
    _log_unlisted(found.names, class_ids, classes)
    return written


@contextmanager
def _renamed_when_complete(out: Path) -> Iterator[Path]:
    out = Path(os.path.abspath(out))
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: already exists and is not overwritten; remove it or choose another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be created ({error.strerror}); choose another --out") from error
    try:
        with new_folder(out) as root:
            yield root
    except OSError as error:  # for example, the disk is full
        what = f"{error.filename or out}: {error.strerror or error}"
        raise InputError(f"{what}; {out} was not written") from error


def _write_video(
    root: Path,
    split: str,
    name: str,
    video: Video,
    class_ids: Mapping[str, str],
    written: Written,
    writing: Writing,
) -> None:
    """Writes images and annotations of one video and counts them."""
    images, texts = (root / part / "VID" / split / name for part in ("Data", "Annotations"))
    for folder in (images, texts):
        folder.mkdir(parents=True)
    sizes = dict(video.frames.write(images, writing))
    if not sizes:
        raise InputError(f"{video.frames.where}: contains no frames; leave the video out")
    objects = resolved(video, sizes, class_ids, written.dropped)
    for frame, size in sizes.items():
        text = annotation(f"{split}/{name}", f"{frame:06d}", size, objects.get(frame, ()))
        (texts / f"{frame:06d}.xml").write_text(text, encoding="utf-8")
    things = [thing for group in objects.values() for thing in group]
    written.frames += len(sizes)
    written.tracks += len({thing.track for thing in things})
    written.counts[split].update(thing.class_id for thing in things)


def annotation(folder: str, name: str, size: tuple[int, int], objects: Iterable[Object]) -> str:
    """The XML annotation of one frame, as in ImageNet VID. size: width, height."""
    lines = [
        "<annotation>",
        f"  <folder>{escape(folder)}</folder>",
        f"  <filename>{name}</filename>",
        f"  <size><width>{size[0]}</width><height>{size[1]}</height></size>",
    ]
    for each in objects:
        x1, y1, x2, y2 = (decimal(value) for value in each.box)
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


def _write_lists(root: Path, classes: ClassList) -> None:
    """Writes classes.txt, ImageSets and the motion file of a folder that already contains the videos."""
    lists = video_lists(root)
    folder = root / "ImageSets"
    folder.mkdir()
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    rows = zip(classes.ids, classes.names, classes.colours)
    text = "".join(f"{class_id} {name} #{bytes(colour).hex()}\n" for class_id, name, colour in rows)
    (root / "classes.txt").write_text(text, encoding="utf-8")
    if "VID_val_frames" in lists:
        image_ids = read_image_ids(folder / "VID_val_frames.txt")
        index = build_index(root / "Annotations" / "VID", image_ids, classes, workers=1)
        motion.save(root / MOTION, image_ids, motion.per_frame(index, motion.motion_iou(index)))


def _log_classes(classes: ClassList, counts: Mapping[str, Counter], tested: bool) -> None:
    """Logs the number of objects of each class. tested: whether there are videos to test on."""
    for class_id, name in zip(classes.ids, classes.names):
        train, val = (counts[split][class_id] for split in ("train", "val"))
        log.info("class %s: %s for training, %d for testing", name, counted(train, "object"), val)
    missing = {
        split: ", ".join(name for class_id, name in zip(classes.ids, classes.names) if not counts[split][class_id])
        for split in ("train", "val")
    }
    if missing["train"]:
        log.warning(
            "no objects to train on: %s; leave these classes out with --classes, or choose other --val-videos",
            missing["train"],
        )
    if tested and missing["val"]:
        log.warning("no objects to test on: %s; choose other --val-videos", missing["val"])
    for one, other in itertools.combinations(classes.names[:COMPARED], 2):
        if alike(one, other):
            log.warning("classes %s and %s: is one a misspelling? If so, correct the annotations", one, other)


def _log_unlisted(names: Sequence[str], class_ids: Mapping[str, str], classes: ClassList) -> None:
    """Warns of classes of the source that are not in the user's list, likely misspellings first."""
    hints = {name: did_you_mean(name, classes.names[:COMPARED]) for name in names if name not in class_ids}
    if hints:
        first = ", ".join(name + hints[name] for name in sorted(hints, key=lambda name: not hints[name])[:8])
        log.warning("not in --classes: %s", first + (f" and {len(hints) - 8} more" if len(hints) > 8 else ""))
