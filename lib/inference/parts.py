"""The detections of a test, a file for each video, so that an interrupted test continues and processes can share it.

A part is the folder `<parts>/2-of-8-<digest>` of one process: manifest.json, what its detections depend on, and
000012.npy for video 12 (from 0) of the list. A file appears when its video is finished. The digest is that of the
manifest, so a test with other weights or settings continues nothing and overwrites nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easydict import EasyDict

from lib.backends.base import ranges_path
from lib.backends.choice import backend_of
from lib.dataset.imagenet_vid import VideoEntry, list_path
from lib.errors import InputError
from lib.eval.detections import DetectionTable, read_detections, write_detections
from lib.eval.manifest import git_state
from lib.files import sha256, write_json
from lib.settings import classes_of, plain

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"

# Settings that detections do not depend on: training, places, and how detections are evaluated.
_OTHER = (
    *("TRAIN", "BACKBONE", "FLOW", "default", "backend", "gpus", "output_path"),
    *("dataset.dataset_path", "dataset.image_set", "dataset.motion_iou_path", "dataset.enable_detailed_eval"),
    *("network.pretrained", "network.pretrained_epoch", "network.pretrained_flow", "MXNET_VERSION"),
    *("TEST.MOTION_RANGES", "TEST.AREA_RANGES", "TEST.SEQ_NMS", "TEST.test_epoch"),
)


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 1, of `count`."""

    number: int = 1
    count: int = 1

    @staticmethod
    def parse(text: str) -> Shard:
        """Reads "2/8". Raises InputError if it has another form."""
        numbers = text.split("/")
        if len(numbers) == 2 and all(each.isascii() and each.isdigit() for each in numbers):
            number, count = map(int, numbers)
            if 1 <= number <= count:
                return Shard(number, count)
        raise InputError(f"--shard {text}: expected N/COUNT with 1 <= N <= COUNT, such as 2/8")

    def videos(self, videos: Sequence[VideoEntry]) -> list[int]:
        """Indices of its videos, in list order. All parts have about the same number of frames."""
        return sorted(distribute([video.num_frames for video in videos], self.count)[self.number - 1])

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def distribute(lengths: Sequence[int], shares: int) -> list[list[int]]:
    """Indices of the videos of each share. Each video, longest first, goes to the share with the fewest frames."""
    taken: list[list[int]] = [[] for _ in range(shares)]
    loads = [0] * shares
    for number in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        lightest = loads.index(min(loads))
        taken[lightest].append(number)
        loads[lightest] += lengths[number]
    return taken


def identity(cfg: EasyDict, detector: str, weights: Path) -> dict:
    """What detections depend on: detector, backend, commit of this code, SHA-256 of weights, list and int8 ranges, and
    settings. Raises InputError if there are no such weights.
    """
    if not weights.is_file():
        raise InputError(f"{weights}: no such weights; train them first, or correct the path")
    ranges = ranges_path(weights)
    settings = dict(_flat(plain(cfg)))
    settings["dataset.CLASSES"] = list(classes_of(cfg).names)  # the path of the file may differ
    return {
        "detector": detector,
        "backend": backend_of(cfg).name,
        "commit": (git_state() or {}).get("commit"),
        "weights": sha256(weights),
        "ranges": sha256(ranges) if cfg.TEST.PRECISION == "int8" and ranges.is_file() else None,
        "list": sha256(list_path(cfg.dataset.dataset_path, cfg.dataset.test_image_set)),
        "settings": {
            key: value for key, value in settings.items() if key not in _OTHER and key.split(".")[0] not in _OTHER
        },
    }


def _flat(values: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


@dataclass(frozen=True)
class Part:
    """The detections of one process."""

    folder: Path
    about: dict

    @staticmethod
    def of(parts: Path, shard: Shard, about: dict) -> Part:
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]
        return Part(parts / f"{shard.number}-of-{shard.count}-{digest}", about)

    def path(self, number: int) -> Path:
        """The file of a video."""
        return self.folder / f"{number:06d}.npy"

    def has(self, number: int) -> bool:
        """Whether the detections of a video are there; a damaged file, of which a warning is logged, does not count."""
        if not self.path(number).is_file():
            return False
        try:
            self.read(number)
        except InputError as error:
            log.warning("%s; detecting in this video again", error)
            return False
        return True

    def write(self, number: int, table: DetectionTable) -> None:
        """Writes the detections of a video; with the first one, also the manifest."""
        manifest = self.folder / MANIFEST
        if not manifest.is_file():  # not earlier: a test that cannot start leaves nothing behind
            write_json(manifest, self.about, pipes=False)
        write_detections(self.path(number), table)

    def read(self, number: int) -> DetectionTable:
        """The detections of a video. Raises InputError if the file is missing or damaged."""
        return read_detections([self.path(number)])

    def remove(self) -> None:
        """Deletes the files of this part, and their folders if nothing else is in them."""
        for path in [*self.folder.glob("[0-9]*.npy"), self.folder / MANIFEST]:
            path.unlink(missing_ok=True)
        for folder in (self.folder, self.folder.parent):
            if folder.is_dir() and not os.listdir(folder):
                folder.rmdir()


def merged(parts: Path, about: dict, videos: Sequence[VideoEntry]) -> DetectionTable:
    """The detections of all videos, in list order, from the parts in a folder.

    Raises InputError if there are none, one of them does not fit `about` (see `identity`), or videos are missing.
    """
    manifests = sorted(parts.glob(f"*-of-*/{MANIFEST}"))
    if not manifests:
        raise InputError(f"{parts}: contains no parts of a test; run the test with --shard 1/2 and --shard 2/2 first")
    found = []
    for path in manifests:
        differing = _differences(_read(path), about)
        if differing:
            raise InputError(
                f"{path.parent}: differs from this run in {', '.join(differing[:4])}; use the options of the original "
                "test, or delete the part"
            )
        found.append(Part(path.parent, about))
    tables: list[DetectionTable] = []
    missing = []
    for number in range(len(videos)):
        part = next((part for part in found if part.path(number).is_file()), None)
        if part is None:
            missing.append(number)
        else:
            tables.append(_checked(part, number, videos[number]))
    if missing:
        raise InputError(f"{parts}: {_missing(missing, found, videos)}")
    return DetectionTable.join(tables)


def _checked(part: Part, number: int, video: VideoEntry) -> DetectionTable:
    table = part.read(number)
    offsets = table.frame_ids - video.first_id
    if len(table) and not 0 <= offsets.min() <= offsets.max() < video.num_frames:
        raise InputError(f"{part.path(number)}: detections of other frames than those of {video.video}; delete it")
    return table


def _missing(missing: Sequence[int], found: Sequence[Part], videos: Sequence[VideoEntry]) -> str:
    """What is missing, and which parts have to run for it."""
    count = max(int(part.folder.name.split("-")[2]) for part in found)
    shares = distribute([video.num_frames for video in videos], count)
    names = [str(Shard(n, count)) for n, share in enumerate(shares, 1) if set(share) & set(missing)]
    return (
        f"{len(missing)} of {len(videos)} videos have no detections, the first is {videos[missing[0]].video}; run the "
        f"test with --shard {', '.join(names[:8])}{' ...' if len(names) > 8 else ''} again, it continues"
    )


def _read(path: Path) -> dict:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return {**about, "settings": dict(about["settings"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not the manifest of a part ({error!r}); delete {path.parent}") from error


def _differences(first: dict, second: dict) -> list[str]:
    """Names of what differs in two identities; settings by their keys."""
    names = [name for name in second if name != "settings" and first.get(name) != second[name]]
    one, two = first["settings"], second["settings"]
    return names + sorted(key for key in {*one, *two} if one.get(key) != two.get(key) or (key in one) != (key in two))
