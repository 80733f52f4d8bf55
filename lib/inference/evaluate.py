"""Tests a detector on the videos of a list: writes its detections and computes mean average precision."""

from __future__ import annotations

import functools
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from easydict import EasyDict
from tqdm import tqdm

from lib.backends.choice import backend_of
from lib.bbox.detections import Detections
from lib.dataset.imagenet_vid import VideoEntry, list_path, video_entries
from lib.eval.detections import DetectionTable, write_detections
from lib.eval.evaluation import Evaluation, evaluate
from lib.eval.manifest import manifest
from lib.eval.ranges import AREA, MOTION, Range, parse_ranges
from lib.eval.rescore import rescore
from lib.eval.results import save_result
from lib.eval.truth import Truth, load_truth, read_image_set
from lib.files import sha256
from lib.reading import foreign, read_json
from lib.settings import classes_of, plain
from lib.video.clips import Clip
from lib.video.sources import PictureFiles
from lib.video.stream import Detector

log = logging.getLogger(__name__)

RESULTS = "results.json"

# load(cfg, weights, device=number) -> detector. A function of a module or class, so that other processes can call it.
LoadDetector = Callable[..., Detector]


def evaluate_detector(cfg: EasyDict, load: LoadDetector, weights: Path, folder: Path) -> Evaluation:
    """Runs a detector on every video of the test list and evaluates its detections.

    If TEST.SEQ_NMS is set, Seq-NMS rescores the detections first.
    Writes to `folder`: detections.txt; results.json with all ranges and classes and a manifest of the inputs, and next
    to it the data for comparisons. Detections are always recomputed, so they cannot come from other weights.
    """
    videos = video_entries(cfg.dataset.dataset_path, cfg.dataset.test_image_set)
    truth = truth_of(cfg)  # first, so that faulty annotations are reported before hours of detection
    motion, area = _ranges(cfg)
    detections = detect_videos(cfg, load, weights, videos)
    image_set = list_path(cfg.dataset.dataset_path, cfg.dataset.test_image_set)
    if cfg.TEST.SEQ_NMS:
        detections = rescore(detections, *read_image_set(image_set), nms_iou=cfg.TEST.NMS)
    write_detections(folder / "detections.txt", detections)
    result = evaluate(detections, truth, classes_of(cfg), motion_ranges=motion, area_ranges=area)
    motion_file = cfg.dataset.motion_iou_path
    about = manifest(
        config=plain(cfg), weights=weights, image_set=image_set, detections=[folder / "detections.txt"],
        annotations=Path(cfg.dataset.dataset_path) / "Annotations" / "VID",
        motion_iou=Path(motion_file) if motion_file else None,
    )  # fmt: skip
    save_result(folder / RESULTS, result, about)
    return result


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
    cfg: EasyDict, load: LoadDetector, weights: Path, videos: Sequence[VideoEntry], workers: int = 0
) -> DetectionTable:
    """Detections of all videos, in list order for any number of devices.

    The videos are distributed over `workers` processes by length, one process per device (0: one for each in `gpus`).
    """
    workers = min(workers or len(backend_of(cfg).devices(cfg.gpus)), len(videos))
    started = time.monotonic()
    if workers == 1:
        found = list(_share(range(len(videos)), cfg, load, weights, videos, 0, progress=True))
    else:
        shares = _distribute([video.num_frames for video in videos], workers)
        task = functools.partial(_share_list, cfg=plain(cfg), load=load, weights=weights, videos=list(videos))
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            parts = pool.starmap(task, [(share, number) for number, share in enumerate(shares)])
        found = [item for part in parts for item in part]
    frames = sum(video.num_frames for video in videos)
    log.info("%d frames, %.3f s per frame", frames, (time.monotonic() - started) / max(frames, 1))
    return DetectionTable.join([table for _, table in sorted(found, key=lambda item: item[0])])


def _distribute(lengths: Sequence[int], shares: int) -> list[list[int]]:
    """Indices of the videos of each share. Each video, longest first, goes to the share with the fewest frames."""
    taken: list[list[int]] = [[] for _ in range(shares)]
    loads = [0] * shares
    for number in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        lightest = loads.index(min(loads))
        taken[lightest].append(number)
        loads[lightest] += lengths[number]
    return taken


def _share_list(
    numbers: Sequence[int], device: int, *, cfg: dict, load: LoadDetector, weights: Path, videos: Sequence[VideoEntry]
) -> list[tuple[int, DetectionTable]]:
    return list(_share(numbers, EasyDict(cfg), load, weights, videos, device, progress=device == 0))


def _share(
    numbers: Iterable[int],
    cfg: EasyDict,
    load: LoadDetector,
    weights: Path,
    videos: Sequence[VideoEntry],
    device: int,
    progress: bool,
) -> Iterator[tuple[int, DetectionTable]]:
    """Yields (index, detections) for each video of a share."""
    detector = load(cfg, weights, device=device)
    numbers = list(numbers)
    total = sum(videos[number].num_frames for number in numbers)
    with tqdm(total=total, unit=" frames", desc="test", disable=None if progress else True) as bar:
        for number in numbers:
            video = videos[number]
            found: list[tuple[int, Detections]] = []
            clip = Clip(video.video, PictureFiles(video.frames))
            for detections in detector(frame.image for frame in clip):
                found.append((video.first_id + len(found), detections))
                bar.update()
            yield number, DetectionTable.of_frames(found)


def weights_path(cfg: EasyDict, folder: Path) -> Path:
    """The checkpoint after epoch TEST.test_epoch in the folder of a training."""
    return folder / f"{cfg.TRAIN.model_prefix}-{cfg.TEST.test_epoch:04d}.params"


def already_done(folder: Path, cfg: EasyDict, weights: Path) -> bool:
    """Whether `folder` contains results for exactly these settings and weights."""
    path = folder / RESULTS
    if not path.is_file() or not weights.is_file():
        return False
    advice = "remove it"
    with foreign(path, "not the results of a test", advice):
        about = read_json(path, advice)["manifest"]
        return about["config"] == plain(cfg) and about["weights"]["sha256"] == sha256(weights)
