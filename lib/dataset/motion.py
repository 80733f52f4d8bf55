"""Motion IoU: how much an object overlaps itself in nearby frames, from its track in the annotations.

    python -m lib.dataset.motion --annotations data/X/Annotations/VID --image-set data/X/ImageSets/VID_val_frames.txt \\
        --out motion.json

The motion IoU of an object is the mean IoU (inclusive widths) of its box with the boxes of the same track in the other
frames within +-10. The paper does not specify the edge cases; the official file for ImageNet VID val shows them:
- The frame itself does not count. Tracks of 9 frames that never overlap themselves have 1e-10 / 8 in all nine.
- Frames without the track, or beyond the clip, do not count either: the divisor is the number of other frames that have
  it (the file contains 1e-10 / 4, / 5, / 6, ... / 20).
- A mean of zero is written as 1e-10 / divisor, and an object that occurs in no other frame has 1
  (ILSVRC2015_val_00064000, frame 835: one object, none within ten frames, value 1).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io

from lib.argument import Parser, positive, whole
from lib.bbox.pairwise import pairwise_iou
from lib.dataset.classes import ClassList
from lib.dataset.index import AnnotationIndex, build_index
from lib.dataset.lists import read_image_ids
from lib.errors import InputError, check_regular, command, start_logging
from lib.files import replacing, write_json
from lib.output_paths import check_distinct, check_output
from lib.reading import foreign, read_json

log = logging.getLogger(__name__)

REACH = 10  # frames before and after
LEAST = 1e-10  # replaces a sum of zero in the official file
MAT_NAME = "motion_iou"


def motion_iou(index: AnnotationIndex, reach: int = REACH) -> np.ndarray:
    """Motion IoU (M,) float64 of every object of the index, which must contain all frames of its clips.

    Raises InputError if an object has no track id, a track occurs twice in a frame, or an image id is not
    <video>/<frame number>.
    """
    clips, frames = _places(index.image_ids)
    image = np.repeat(np.arange(len(index)), np.diff(index.offsets))
    if (index.tracks < 0).any():
        first = index.image_ids[image[np.argmax(index.tracks < 0)]]
        raise InputError(f"{first}: an object without <trackid>; motion needs a track id for every object")
    clip, frame, track = clips[image], frames[image], index.tracks
    order = np.lexsort((frame, track, clip))
    clip, frame, track, boxes = clip[order], frame[order], track[order], index.boxes[order].astype(np.float64)
    total = np.zeros(len(order))
    others = np.zeros(len(order), np.int64)
    # Frames increase strictly along a track, so those within `reach` frames are within `reach` rows.
    for step in range(1, min(reach, len(order) - 1) + 1):
        near = np.flatnonzero((clip[step:] == clip[:-step]) & (track[step:] == track[:-step]))
        gap = frame[near + step] - frame[near]
        if step == 1 and (gap == 0).any():
            twice = near[np.argmax(gap == 0)]
            where = index.image_ids[image[order[twice]]]
            raise InputError(f"{where}: track {track[twice]} occurs twice in the frame; give each object its own track")
        near = near[gap <= reach]
        overlap = pairwise_iou(boxes[near], boxes[near + step])
        for side in (near, near + step):  # neither has a row twice, so indexed addition is correct
            total[side] += overlap
            others[side] += 1
    values = np.empty(len(order))
    values[order] = np.where(others > 0, np.maximum(total, LEAST) / np.maximum(others, 1), 1.0)
    return values


def per_frame(index: AnnotationIndex, values: np.ndarray) -> list[np.ndarray]:
    """Splits values (M,) of an index into one array per image, in order."""
    return np.split(values, index.offsets[1:-1]) if len(index) else []


def save(path: str | Path, image_ids: Sequence[str], frames: Sequence[np.ndarray]) -> None:
    """Writes `frames`, one array of values per image: `.json` keyed by image id, or `.mat` in the published structure.

    The .mat contains a cell array `motion_iou` (N, 1) in list order, each cell (k, 1) float64, or 1 x 0 for a frame
    without objects. Raises InputError for another suffix.
    """
    path = Path(path)
    if path.suffix == ".json":
        write_json(path, {image_id: values.tolist() for image_id, values in zip(image_ids, frames)}, indent=None)
    elif path.suffix == ".mat":
        cells = np.empty((len(frames), 1), object)
        for row, values in enumerate(frames):
            cells[row, 0] = np.reshape(values, (-1, 1) if len(values) else (1, 0)).astype(np.float64)
        with replacing(path, pipes=True) as temporary:
            scipy.io.savemat(temporary, {MAT_NAME: cells}, do_compression=True)
    else:
        raise InputError(f"{path}: unknown suffix for motion values; use .json or .mat")


def load(path: str | Path, image_ids: Sequence[str]) -> list[np.ndarray]:
    """Reads motion values: one float64 array per image, in the order of `image_ids`.

    Reads `.mat` (the official file, in list order) and `.json`, keyed by image id or a list of lists in list order.
    Raises InputError if the file is missing or malformed, an image is missing, or the number of images differs.
    """
    path = Path(path)
    if path.suffix == ".mat":
        frames: object = _load_mat(path)
    else:
        frames = read_json(path, "not a motion file; give a .mat or .json file, or none")
        if isinstance(frames, dict):
            missing = [image_id for image_id in image_ids if image_id not in frames]
            if missing:
                raise InputError(f"{path}: no values for {missing[0]} ({len(missing)} images missing); regenerate it")
            frames = [frames[image_id] for image_id in image_ids]
    if not isinstance(frames, list) or len(frames) != len(image_ids):
        count = len(frames) if isinstance(frames, list) else "no"
        raise InputError(f"{path}: {count} frames, but the list has {len(image_ids)}; give the file of this image set")
    with foreign(path, "a motion value is not a number", "regenerate the file"):
        arrays = [np.asarray(values, np.float64).reshape(-1) for values in frames]
    for image_id, values in zip(image_ids, arrays):
        if not ((values >= 0) & (values <= 1)).all():
            raise InputError(f"{path}: a motion value of {image_id} is outside 0..1; regenerate the file")
    return arrays


def _load_mat(path: Path) -> list[np.ndarray]:
    with foreign(path, "cannot be read as a .mat file", "give the published file"):
        check_regular(path)
        content = scipy.io.loadmat(path, variable_names=[MAT_NAME])
    cells = content.get(MAT_NAME)
    if cells is None or cells.dtype != object or cells.ndim != 2:
        raise InputError(f"{path}: contains no cell array {MAT_NAME!r}; give the published file")
    return list(cells.reshape(-1))


def _places(image_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Clip numbers and frame numbers, each (N,) int64, of image ids <video>/<frame>."""
    numbers: dict[str, int] = {}
    places = np.empty((2, len(image_ids)), np.int64)
    for column, image_id in enumerate(image_ids):
        video, _, frame = image_id.rpartition("/")
        if not (frame.isascii() and frame.isdigit() and len(frame) <= 9):
            raise InputError(f"{image_id}: the last part is not a frame number; motion needs frames of videos")
        places[:, column] = numbers.setdefault(video, len(numbers)), int(frame)
    return places[0], places[1]


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line of `python -m lib.dataset.motion`."""
    parser = Parser(
        prog="python -m lib.dataset.motion",
        description="Computes the motion IoU of every object of an image set from the track ids.",
    )
    add = parser.add_argument
    add("--annotations", type=Path, required=True, help="folder of the XML files that image ids are relative to")
    add("--image-set", type=Path, required=True, help="list of frames (`<image> <id>`) or of videos (4 columns)")
    add(
        "--out",
        type=check_output,
        required=True,
        help="file to write: .json (keyed by frame) or .mat (published structure)",
    )
    add("--reach", type=positive, default=REACH, help="number of frames before and after that count (default: 10)")
    add("--classes", type=Path, help="class list (default: classes.txt next to Annotations, or else ImageNet VID's)")
    add("--cache", type=Path, default=Path("output/cache"), help="cache of parsed annotations (default: output/cache)")
    add("--workers", type=whole, default=0, help="number of processes that read annotations (default: one per core)")
    add("--compare", type=Path, metavar="FILE", help="also report how much the values differ from those in this file")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see `parse_args`."""
    args = parse_args(argv)
    start_logging()
    check_distinct([args.annotations, args.image_set, args.classes, args.compare], [args.out])
    classes = ClassList.of_dataset(args.annotations.resolve().parent.parent, args.classes)
    image_ids = read_image_ids(args.image_set)
    index = build_index(args.annotations, image_ids, classes, cache=args.cache, workers=args.workers)
    values = motion_iou(index, args.reach)
    frames = per_frame(index, values)
    save(args.out, image_ids, frames)
    slow, fast = int((values > 0.9).sum()), int((values < 0.7).sum())
    shares = f"{slow} slow, {len(values) - slow - fast} medium, {fast} fast"
    log.info("%s: %d objects in %d frames (%s)", args.out, len(values), len(frames), shares)
    if args.compare:
        log.info("%s", compared(frames, load(args.compare, image_ids), args.compare))


def compared(frames: Sequence[np.ndarray], others: Sequence[np.ndarray], path: Path) -> str:
    """One line that summarises how two sets of motion values differ."""
    same = [(one, other) for one, other in zip(frames, others) if len(one) == len(other)]
    apart = np.abs(np.concatenate([np.zeros(1), *(one - other for one, other in same)]))
    counts = f"{len(frames) - len(same)} frames with a different number of objects"
    return f"{path}: {counts}, {(apart > 1e-6).sum()} values differ, by at most {apart.max():.3g}"


if __name__ == "__main__":
    main()
