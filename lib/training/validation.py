"""Validation while training: mean average precision on a few videos, the best weights, and early stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from easydict import EasyDict

from lib.backends.base import Arrays, Backend, Device
from lib.bbox.detections import Detections
from lib.dataset.image import read
from lib.dataset.imagenet_vid import VideoEntry, list_path, video_entries
from lib.eval.bootstrap import Interval, bootstrap
from lib.eval.detections import DetectionTable
from lib.eval.evaluation import evaluate
from lib.eval.truth import Truth, load_truth
from lib.files import replacing
from lib.inference.evaluate import detect_video
from lib.method import Method
from lib.nets import params
from lib.settings import classes_of
from lib.training.lines import Lines, is_count
from lib.video.drawing import compare_boxes

log = logging.getLogger(__name__)

SAMPLES = 200  # of the bootstrap
SHOWN, SHOWN_SCORE = 4, 0.3  # frames drawn for TensorBoard, and the lowest score drawn

# (args, auxs) -> mean AP with its interval by motion range, and the annotated frames
Evaluate = Callable[[Arrays, Arrays], "tuple[dict[str, Interval], list[np.ndarray]]"]


def balanced(truth: Truth, count: int) -> list[str]:
    """`count` videos, in list order, always the same ones: each in turn is of the class that has the fewest frames so
    far. Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"{count} videos; must be at least 1")
    frames = np.repeat(np.arange(len(truth.frame_ids)), np.diff(truth.object_starts))
    held = np.zeros((len(truth.videos), int(truth.classes.max(initial=0)) + 1))
    for frame, label in np.unique(np.stack([frames, truth.classes], axis=1), axis=0):
        held[truth.frame_videos[frame], label] += 1
    order = np.random.default_rng(0).permutation(len(truth.videos)).tolist()
    chosen: list[int] = []
    while len(chosen) < min(count, len(order)):
        rest = [video for video in order if video not in chosen]
        present = [label for label in range(held.shape[1]) if held[rest, label].any()]
        rarest = min(present, key=lambda label: held[chosen, label].sum(), default=0)
        chosen.append(next((video for video in rest if held[video, rarest]), rest[0]))
    return [truth.videos[video] for video in sorted(chosen)]


class Validator:
    """Runs a method's detector on the validation videos. As an `Evaluate`, it gets the weights for testing.

    Writes the list of the videos to `folder`/validation.txt. The detector draws no random numbers and has its own
    copy of the weights, so training continues as if there were no validation.
    """

    def __init__(self, cfg: EasyDict, method: Method, backend: Backend, device: Device, folder: Path) -> None:
        self._cfg, self._method, self._backend, self._device = cfg, method, backend, device
        self._classes = classes_of(cfg)
        image_set = cfg.TRAIN.VALIDATE_SET or cfg.dataset.test_image_set
        root, cache = Path(cfg.dataset.dataset_path), Path(cfg.output_path) / "cache"
        annotations, videos = root / "Annotations" / "VID", video_entries(root, image_set)
        if cfg.TRAIN.VALIDATE_VIDEOS:
            whole = load_truth(annotations, list_path(root, image_set), self._classes, motion=False, cache=cache)
            names = set(balanced(whole, cfg.TRAIN.VALIDATE_VIDEOS))
            videos = [video for video in videos if video.video in names]
        self._videos: Sequence[VideoEntry] = videos
        path = folder / "validation.txt"
        with replacing(path) as temporary:
            lines = [f"{video.video} {video.first_id} 0 {video.num_frames}\n" for video in videos]
            temporary.write_text("".join(lines), encoding="utf-8")
        self._truth = load_truth(annotations, path, self._classes, motion=cfg.dataset.enable_detailed_eval, cache=cache)
        frames = sum(video.num_frames for video in videos)
        log.info("validation: %d videos of %s with %d frames, listed in %s", len(videos), image_set, frames, path)
        log.info("validation videos: %s", ", ".join(video.video for video in videos))

    def __call__(self, args: Arrays, auxs: Arrays) -> tuple[dict[str, Interval], list[np.ndarray]]:
        detector = self._method.detector(
            cfg=self._cfg,
            args=params.for_test(args),
            auxs=auxs,
            backend=self._backend,
            device=self._device,
            precision=self._backend.precision("float32", ""),
            batch=self._cfg.TEST.BATCH_IMAGES,
        )
        table = DetectionTable.join([detect_video(detector, video) for video in self._videos])
        return bootstrap(evaluate(table, self._truth, self._classes), SAMPLES), self._shown(table)

    def _shown(self, table: DetectionTable) -> list[np.ndarray]:
        """The middle frames of the first videos: annotated objects on the left, detections on the right."""
        images = []
        for video in self._videos[:SHOWN]:
            middle = video.num_frames // 2
            image = read(video.frames[middle])
            number = int(np.flatnonzero(self._truth.frame_ids == video.first_id + middle)[0])
            rows = slice(*self._truth.object_starts[number : number + 2])
            boxes, labels = self._truth.boxes[rows], self._truth.classes[rows]
            found = table.take(table.frame_ids == video.first_id + middle)
            shown = {
                "annotated": _detections(boxes, np.ones(len(boxes)), labels),
                f"detected, {SHOWN_SCORE} or more": _detections(found.boxes, found.scores, found.classes),
            }
            images.append(compare_boxes(image, shown, self._classes, SHOWN_SCORE))
        return images


def _detections(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> Detections:
    return Detections(boxes.astype(np.float32), scores.astype(np.float32), classes.astype(np.int32))


class History:
    """The validations of a training, in a file of lines {"step", "map": {motion range: {"map", "low", "high"}}}.

    patience: `over` after this many validations in a row without a better mAP; 0: never.
    """

    def __init__(self, path: Path, patience: int = 0) -> None:
        self._file, self._patience = Lines(path, _valid), patience
        self._lines: list[dict] = []

    def cut(self, step: int) -> None:
        """Reads the file and drops the lines after `step`, where training continues."""
        self._lines = self._file.cut(lambda line: line["step"] <= step)

    def __contains__(self, step: int) -> bool:
        return any(line["step"] == step for line in self._lines)

    def add(self, step: int, found: Mapping[str, Interval]) -> None:
        figures = {name: {"map": each.value, "low": each.low, "high": each.high} for name, each in found.items()}
        self._lines.append({"step": step, "map": figures})
        self._file.add(self._lines[-1])

    def _values(self) -> list[float]:
        """mAP over all objects: that of the first motion range."""
        return [next(iter(line["map"].values()))["map"] for line in self._lines]

    def better(self, value: float) -> bool:
        """Whether `value` is above all earlier ones."""
        return value > max(self._values(), default=-np.inf)

    @property
    def over(self) -> bool:
        values = self._values()
        return bool(self._patience and values) and len(values) - 1 - values.index(max(values)) >= self._patience


def _valid(line: dict) -> bool:
    figures = [each["map"] for each in line["map"].values()]
    return is_count(line["step"]) and bool(figures) and all(type(value) in (int, float) for value in figures)
