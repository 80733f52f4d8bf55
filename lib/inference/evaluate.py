"""Tests a detector on the videos of a list: writes its detections and computes mean average precision."""

from __future__ import annotations

import functools
import logging
import multiprocessing
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from easydict import EasyDict
from tqdm import tqdm

from lib.backends.choice import backend_of
from lib.bbox.detections import Detections
from lib.dataset.imagenet_vid import VideoEntry, list_path, video_entries
from lib.errors import InputError
from lib.eval.detections import DetectionTable, write_detections
from lib.eval.evaluation import Evaluation, evaluate
from lib.eval.manifest import manifest
from lib.eval.ranges import AREA, MOTION, Range, parse_ranges
from lib.eval.rescore import rescore
from lib.eval.results import save_result
from lib.eval.truth import Truth, load_truth, read_image_set
from lib.files import sha256
from lib.inference.parts import Part, Shard, distribute, identity, merged
from lib.reading import foreign, read_json
from lib.settings import classes_of, plain
from lib.video.clips import Clip
from lib.video.sources import PictureFiles
from lib.video.stream import Detector

log = logging.getLogger(__name__)

RESULTS, PARTS = "results.json", "parts"

# load(cfg, weights, device=number) -> detector. A function of a module or class, so that other processes can call it.
LoadDetector = Callable[..., Detector]


def evaluate_detector(
    cfg: EasyDict, load: LoadDetector, weights: Path, folder: Path, *, merge: Path | None = None
) -> Evaluation:
    """Runs a detector on every video of the test list and evaluates its detections.

    If TEST.SEQ_NMS is set, Seq-NMS rescores the detections first.
    Writes to `folder`: detections.txt; results.json with all ranges and classes and a manifest of the inputs, and next
    to it the data for comparisons. A test that was interrupted, with the same weights, settings and code, continues
    after the last finished video; a finished one is always repeated.
    merge: the folder with the parts that `detect_shard` wrote; the detector does not run then. Raises InputError if
    parts are missing or come from other weights, settings or lists.
    """
    videos = video_entries(cfg.dataset.dataset_path, cfg.dataset.test_image_set)
    truth = truth_of(cfg)  # first, so that faulty annotations are reported before hours of detection
    motion, area = _ranges(cfg)
    if merge is None:
        backend_of(cfg).devices(cfg.gpus)  # a missing GPU is reported first, too
    about = identity(cfg, _name(load), weights)
    part = Part.of(folder / PARTS, Shard(), about)
    if merge is None:
        detect_videos(cfg, load, weights, videos, part)
        detections = DetectionTable.join([part.read(number) for number in range(len(videos))])
    else:
        detections = merged(merge, about, videos)
    image_set = list_path(cfg.dataset.dataset_path, cfg.dataset.test_image_set)
    if cfg.TEST.SEQ_NMS:
        detections = rescore(detections, *read_image_set(image_set), nms_iou=cfg.TEST.NMS)
    write_detections(folder / "detections.txt", detections)
    result = evaluate(detections, truth, classes_of(cfg), motion_ranges=motion, area_ranges=area)
    motion_file = cfg.dataset.motion_iou_path
    inputs = manifest(
        config=plain(cfg), backend=about["backend"], weights=weights, image_set=image_set,
        detections=[folder / "detections.txt"], annotations=Path(cfg.dataset.dataset_path) / "Annotations" / "VID",
        motion_iou=Path(motion_file) if motion_file else None,
    )  # fmt: skip
    save_result(folder / RESULTS, result, inputs)
    if merge is None:
        part.remove()
    return result


def detect_shard(cfg: EasyDict, load: LoadDetector, weights: Path, folder: Path, shard: Shard) -> Path:
    """Runs a detector on one share of the test list's videos and writes their detections below `folder`/parts.

    Returns that folder, for `evaluate_detector`. An interrupted run continues after the last finished video.
    """
    videos = video_entries(cfg.dataset.dataset_path, cfg.dataset.test_image_set)
    if shard.count > len(videos):
        raise InputError(f"--shard {shard}: the list has only {len(videos)} videos; use at most as many parts")
    part = Part.of(folder / PARTS, shard, identity(cfg, _name(load), weights))
    detect_videos(cfg, load, weights, videos, part, shard.videos(videos))
    return folder / PARTS


def _name(load: LoadDetector) -> str:
    """The name of the class whose `load` it is, or of the function."""
    owner: Any = getattr(load, "__self__", load)
    return f"{owner.__module__}.{owner.__qualname__}"


def truth_of(cfg: EasyDict) -> Truth:
    """The objects of the test list, and their motion if the evaluation needs it."""
    root = Path(cfg.dataset.dataset_path)
    return load_truth(
        root / "Annotations" / "VID",
        list_path(root, cfg.dataset.test_image_set),
        classes_of(cfg),
        motion_file=Path(cfg.dataset.motion_iou_path) if cfg.dataset.motion_iou_path else None,
        motion=cfg.dataset.enable_detailed_eval or bool(cfg.TEST.MOTION_RANGES),
        cache=Path(cfg.output_path) / "cache",
    )


def _ranges(cfg: EasyDict) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """The motion and area ranges to evaluate."""
    motion = parse_ranges(cfg.TEST.MOTION_RANGES, MOTION, "motion")
    area = parse_ranges(cfg.TEST.AREA_RANGES, AREA, "area")
    return (motion, area) if cfg.dataset.enable_detailed_eval else (motion[:1], area[:1])


def detect_videos(
    cfg: EasyDict,
    load: LoadDetector,
    weights: Path,
    videos: Sequence[VideoEntry],
    part: Part,
    numbers: Sequence[int] | None = None,
    workers: int = 0,
) -> None:
    """Writes to `part` the detections of the videos `numbers` (None: of all) that it does not have yet.

    They are distributed over `workers` processes by length, one process per device (0: one for each in `gpus`).
    """
    chosen = list(range(len(videos)) if numbers is None else numbers)
    todo = [number for number in chosen if not part.has(number)]
    if len(todo) < len(chosen):
        log.info("%s: continuing, %d of %d videos are finished", part.folder, len(chosen) - len(todo), len(chosen))
    if not todo:
        return
    workers = min(workers or len(backend_of(cfg).devices(cfg.gpus)), len(todo))
    started = time.monotonic()
    task = functools.partial(_detect, cfg=plain(cfg), load=load, weights=weights, videos=list(videos), part=part)
    if workers == 1:
        task(todo, 0)
    else:
        shares = [[todo[i] for i in share] for share in distribute([videos[n].num_frames for n in todo], workers)]
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            pool.starmap(task, [(share, number) for number, share in enumerate(shares)])
    frames = sum(videos[number].num_frames for number in todo)
    log.info("%d frames, %.3f s per frame", frames, (time.monotonic() - started) / max(frames, 1))


def _detect(
    numbers: Sequence[int],
    device: int,
    *,
    cfg: dict,
    load: LoadDetector,
    weights: Path,
    videos: Sequence[VideoEntry],
    part: Part,
) -> None:
    """Writes the detections of the videos `numbers` with one detector."""
    detector = load(EasyDict(cfg), weights, device=device)
    total = sum(videos[number].num_frames for number in numbers)
    with tqdm(total=total, unit=" frames", desc="test", disable=True if device else None) as bar:
        for number in numbers:
            part.write(number, detect_video(detector, videos[number], bar.update))


def detect_video(detector: Detector, video: VideoEntry, done: Callable[[], object] = lambda: None) -> DetectionTable:
    """The detections of a video, with the frame ids of the list. done: called after each frame."""
    found: list[tuple[int, Detections]] = []
    for detections in detector(frame.image for frame in Clip(video.video, PictureFiles(video.frames))):
        found.append((video.first_id + len(found), detections))
        done()
    return DetectionTable.of_frames(found)


def already_done(folder: Path, cfg: EasyDict, weights: Path) -> bool:
    """Whether `folder` contains results for exactly these settings and weights."""
    path = folder / RESULTS
    if not path.is_file() or not weights.is_file():
        return False
    advice = "remove it"
    with foreign(path, "not the results of a test", advice):
        about = read_json(path, advice)["manifest"]
        return about["config"] == plain(cfg) and about["weights"]["sha256"] == sha256(weights)
