"""Apply Seq-NMS to all videos of a detection set, in parallel.

python -m lib.eval.rescore --detections detections.txt --image-set VID_val_frames.txt --out rescored.txt
"""

from __future__ import annotations

import argparse
import functools
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lib.argument import Parser, real, whole
from lib.dataset.index import parallel
from lib.errors import InputError, command, start_logging
from lib.eval.detections import DetectionTable, read_detections, write_detections
from lib.eval.truth import positions, read_image_set, videos_of
from lib.machine import cores
from lib.nms.seq_nms import seq_nms
from lib.output_paths import check_distinct, check_output

log = logging.getLogger(__name__)

PARALLEL_FROM = 200_000  # detections; with fewer, starting worker processes takes longer than the work


def rescore(
    detections: DetectionTable,
    image_ids: Sequence[str],
    frame_ids: np.ndarray,
    *,
    workers: int = 0,
    progress: bool = True,
    link_iou: float = 0.5,
    suppress_iou: float = 0.3,
    min_sum: float = 0.01,
    nms_iou: float | None = 0.3,
) -> DetectionTable:
    """Detections after Seq-NMS of each video and class and, unless `nms_iou` is None, NMS of each frame.

    image_ids, frame_ids (F,): the image set; the frames of a video must be consecutive and in temporal order. The
    result is sorted by frame in the order of the image set, then by class; detections on other frames are left out.
    `workers`: number of processes, 0 for one per core; the result does not depend on it. The other parameters are
    those of `lib.nms.seq_nms.seq_nms`.
    Raises InputError if the frames of a video are not consecutive or a box is inverted.
    """
    videos, frame_videos = videos_of(image_ids)
    if (np.diff(frame_videos) < 0).any():
        name = videos[frame_videos[1:][np.diff(frame_videos) < 0][0]]
        raise InputError(f"the frames of {name} are not consecutive in the image set; sort it by video and frame")
    frames = positions(detections.frame_ids, frame_ids)
    known = np.flatnonzero(frames >= 0)
    by_frame = known[np.argsort(frames[known], kind="stable")]
    ends = np.searchsorted(frames[by_frame], np.searchsorted(frame_videos, np.arange(len(videos) + 1)))
    tasks = []
    for video, name in enumerate(videos):
        rows = by_frame[ends[video] : ends[video + 1]]
        dets = np.concatenate([detections.boxes[rows], detections.scores[rows, None]], axis=1)
        tasks.append((name, frames[rows], detections.classes[rows], dets))
    settings = {"link_iou": link_iou, "suppress_iou": suppress_iou, "min_sum": min_sum, "nms_iou": nms_iou}
    work = functools.partial(_one_video, settings=settings)
    workers = workers or cores()
    results = map(work, tasks) if workers == 1 or len(known) < PARALLEL_FROM else parallel(work, tasks, workers)
    parts = list(tqdm(results, "Seq-NMS", len(tasks), unit=" videos", disable=None if progress else True))
    parts.append((np.empty(0, np.int64), np.empty(0, np.int32), np.empty((0, 5))))
    found, classes, dets = (np.concatenate(column) for column in zip(*parts))
    return DetectionTable(
        np.asarray(frame_ids, np.int64)[found], classes, dets[:, 4].copy(), np.ascontiguousarray(dets[:, :4])
    )


def _one_video(
    task: tuple[str, np.ndarray, np.ndarray, np.ndarray], settings: dict
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, classes and rows (N, 5) of one video, sorted by frame, then class."""
    name, frames, classes, dets = task
    if not len(frames):
        return frames, classes, dets
    first = frames[0]
    count = int(frames[-1] - first) + 1
    present = np.unique(classes)
    cells = []
    for cls in present:
        rows = np.flatnonzero(classes == cls)
        cells.append(np.split(dets[rows], np.searchsorted(frames[rows], first + np.arange(1, count))))
    try:
        cells = seq_nms(cells, **settings)
    except ValueError as error:
        raise InputError(f"Seq-NMS of {name}: {error}; recreate the detections") from error
    sizes = np.array([[len(frame) for frame in frames_of_class] for frames_of_class in cells])
    out_frames = np.repeat(np.tile(np.arange(count), len(present)), sizes.ravel()) + first
    out_classes = np.repeat(present, sizes.sum(axis=1))
    rows = np.concatenate([frame for frames_of_class in cells for frame in frames_of_class])
    order = np.argsort(out_frames, kind="stable")
    return out_frames[order], out_classes[order], rows[order]


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line of `python -m lib.eval.rescore`."""
    parser = Parser(prog="python -m lib.eval.rescore", description="Apply Seq-NMS to detection files.")
    add = parser.add_argument
    add("--detections", type=Path, nargs="+", required=True, help="detection files, .txt, .txt.gz or .npy")
    add("--image-set", type=Path, required=True,
        help="list of frames (`<image> <id>`) or of videos (`<video> <id> 0 <frames>`)")  # fmt: skip
    add("--out", type=check_output, required=True, help="output file, .txt, .txt.gz or .npy")
    add(
        "--link-iou",
        type=real(0, 1),
        default=0.5,
        help="minimum IoU to link boxes of neighbouring frames (default: 0.5)",
    )
    add("--suppress-iou", type=real(0, 1), default=0.3, help="minimum IoU with a path to be removed (default: 0.3)")
    add("--min-sum", type=real(), default=0.01, help="stop when the best sum of scores is below this (default: 0.01)")
    add("--nms-iou", type=real(0, 1), default=0.3, help="threshold of the final NMS of each frame (default: 0.3)")
    add("--workers", type=whole, default=0, help="number of processes (default: one per core)")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    start_logging()
    check_distinct([*args.detections, args.image_set], [args.out])
    image_ids, frame_ids = read_image_set(args.image_set)
    before = read_detections(args.detections)
    after = rescore(
        before, image_ids, frame_ids, workers=args.workers, link_iou=args.link_iou,
        suppress_iou=args.suppress_iou, min_sum=args.min_sum, nms_iou=args.nms_iou,
    )  # fmt: skip
    write_detections(args.out, after, pipes=True)
    log.info("%s: %d of %d detections", args.out, len(after), len(before))


if __name__ == "__main__":
    main()
