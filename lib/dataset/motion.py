"""Motion IoU: how much an object stays where it was, from its track in the annotations.

    python -m lib.dataset.motion --annotations data/X/Annotations/VID --image-set data/X/ImageSets/VID_val_frames.txt \\
        --out motion.json

Motion IoU of an object = mean IoU (inclusive widths) of its box with the boxes of the same track in the other frames
within +-10. The paper leaves the ends open; the official file for ImageNet VID val settles them:
- The frame itself does not count. Tracks of 9 frames that never overlap themselves have 1e-10 / 8 in all nine.
- Frames where the track is absent, or beyond the clip, do not count either: the divisor is the number of others seen
  (the same file holds 1e-10 / 4, / 5, / 6, ... / 20).
- A mean of zero is written as 1e-10 / divisor, and an object that is seen in no other frame has 1
  (ILSVRC2015_val_00064000, frame 835: one object, none within ten frames, value 1).
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io

from lib.dataset.classes import ClassList
from lib.dataset.index import AnnotationIndex, build_index
from lib.dataset.lists import positive, read_image_ids, whole
from lib.errors import InputError, command
from lib.files import replacing

logger = logging.getLogger(__name__)

REACH = 10  # frames before and after
LEAST = 1e-10  # the official file's stand-in for a sum of zero
MAT_NAME = "motion_iou"


def motion_iou(index: AnnotationIndex, reach: int = REACH) -> np.ndarray:
    """Motion IoU (M,) float64 of every object of the index, which must hold all frames of its clips.

    InputError: an object without track id, one track twice in a frame, an image id that is not <video>/<frame number>.
    """
    clips, frames = _places(index.image_ids)
    image = np.repeat(np.arange(len(index)), np.diff(index.offsets))
    if (index.tracks < 0).any():
        first = index.image_ids[image[np.argmax(index.tracks < 0)]]
        raise InputError(f"{first}: an object without <trackid>; motion can only be told of tracked objects")
    clip, frame, track = clips[image], frames[image], index.tracks
    order = np.lexsort((frame, track, clip))
    clip, frame, track, boxes = clip[order], frame[order], track[order], index.boxes[order].astype(np.float64)
    total = np.zeros(len(order))
    others = np.zeros(len(order), np.int64)
    # Frames rise strictly along a track, so those within `reach` frames stand within `reach` rows.
    for step in range(1, min(reach, len(order) - 1) + 1):
        near = np.flatnonzero((clip[step:] == clip[:-step]) & (track[step:] == track[:-step]))
        gap = frame[near + step] - frame[near]
        if step == 1 and (gap == 0).any():
            twice = near[np.argmax(gap == 0)]
            where = index.image_ids[image[order[twice]]]
            raise InputError(f"{where}: track {track[twice]} stands twice in the frame; give each object its own")
        near = near[gap <= reach]
        overlap = _pairwise_iou(boxes[near], boxes[near + step])
        for side in (near, near + step):  # no row twice in either, so plain indexed addition is right
            total[side] += overlap
            others[side] += 1
    values = np.empty(len(order))
    values[order] = np.where(others > 0, np.maximum(total, LEAST) / np.maximum(others, 1), 1.0)
    return values


def per_frame(index: AnnotationIndex, values: np.ndarray) -> list[np.ndarray]:
    """Values (M,) of an index split by image: one array an image, in order."""
    return np.split(values, index.offsets[1:-1]) if len(index) else []


def save(path: str | Path, image_ids: Sequence[str], frames: Sequence[np.ndarray]) -> None:
    """Writes `frames` (one array of values an image): `.json` keyed by image id, or `.mat` in the published structure.

    The .mat holds a cell `motion_iou` (N, 1) in list order, each (k, 1) float64, or 1 x 0 for a frame without objects.
    InputError: another suffix.
    """
    path = Path(path)
    if path.suffix == ".json":
        with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            json.dump({image_id: values.tolist() for image_id, values in zip(image_ids, frames)}, file)
    elif path.suffix == ".mat":
        cells = np.empty((len(frames), 1), object)
        for row, values in enumerate(frames):
            cells[row, 0] = np.reshape(values, (-1, 1) if len(values) else (1, 0)).astype(np.float64)
        with replacing(path) as temporary:
            scipy.io.savemat(temporary, {MAT_NAME: cells}, do_compression=True)
    else:
        raise InputError(f"{path}: motion values are written as .json or .mat; give one of the two")


def load(path: str | Path, image_ids: Sequence[str]) -> list[np.ndarray]:
    """Motion values of the images: one float64 array an image, in the order of `image_ids`.

    Reads `.mat` (the official file; list order), and `.json`: keyed by image id, or a list of lists in list order.
    InputError: no such file, another content, another number of images than `image_ids`, an image that is not in it.
    """
    path = Path(path)
    if path.suffix == ".mat":
        frames = _load_mat(path)
    else:
        try:
            frames = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: no motion file ({error}); give the .mat or .json, or none at all") from error
        if isinstance(frames, dict):
            missing = [image_id for image_id in image_ids if image_id not in frames]
            if missing:
                raise InputError(f"{path}: no values for {missing[0]} ({len(missing)} images missing); make it anew")
            frames = [frames[image_id] for image_id in image_ids]
    if not isinstance(frames, list) or len(frames) != len(image_ids):
        count = len(frames) if isinstance(frames, list) else "no"
        raise InputError(f"{path}: {count} frames, but the list has {len(image_ids)}; give the file of this image set")
    try:
        arrays = [np.asarray(values, np.float64).reshape(-1) for values in frames]
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: a motion value is no number ({error}); make the file anew") from error
    for image_id, values in zip(image_ids, arrays):
        if not ((values >= 0) & (values <= 1)).all():
            raise InputError(f"{path}: a motion value of {image_id} is outside 0..1; make the file anew")
    return arrays


def _load_mat(path: Path) -> list[np.ndarray]:
    try:
        content = scipy.io.loadmat(path, variable_names=[MAT_NAME])
    except Exception as error:  # scipy lets out whatever a malformed file led to: IndexError, zlib.error, ...
        raise InputError(f"{path}: cannot be read as a .mat file ({error}); give the published one") from error
    cells = content.get(MAT_NAME)
    if cells is None or cells.dtype != object or cells.ndim != 2:
        raise InputError(f"{path}: no cell array {MAT_NAME!r} in it; give the published file")
    return list(cells.reshape(-1))


def _places(image_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(clip number, frame number) of image ids <video>/<frame>, each (N,) int64."""
    numbers: dict[str, int] = {}
    places = np.empty((2, len(image_ids)), np.int64)
    for column, image_id in enumerate(image_ids):
        video, _, frame = image_id.rpartition("/")
        if not (frame.isascii() and frame.isdigit()):
            raise InputError(f"{image_id}: the last part is no frame number; motion needs the frames of videos")
        places[:, column] = numbers.setdefault(video, len(numbers)), int(frame)
    return places[0], places[1]


def _pairwise_iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """IoU (n,) of boxes (n, 4) and (n, 4), row by row, inclusive pixels."""
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    shared = np.maximum(high - low + 1, 0).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1) for boxes in (one, other)]
    return shared / (areas[0] + areas[1] - shared)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line of `python -m lib.dataset.motion`."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.dataset.motion",
        description="Computes the motion IoU of every object of an image set from the track ids.",
    )
    add = parser.add_argument
    add("--annotations", type=Path, required=True, help="folder of the XML files that image ids are relative to")
    add("--image-set", type=Path, required=True, help="list of frames (`<image> <id>`) or of videos (4 columns)")
    add("--out", type=Path, required=True, help="file to write: .json (keyed by frame) or .mat (published structure)")
    add("--reach", type=positive, default=REACH, help="frames before and after that count (default: 10)")
    add("--classes", type=Path, help="class list (default: classes.txt beside Annotations, else ImageNet VID's)")
    add("--cache", type=Path, default=Path("output/cache"), help="folder of parsed annotations (default: output/cache)")
    add("--workers", type=whole, default=0, help="processes that read annotations (default: one a core)")
    add("--compare", type=Path, metavar="FILE", help="also say how far the values are from those of this file")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see `parse_args`."""
    args = parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    root = args.annotations.resolve().parent.parent
    classes = ClassList.load(args.classes) if args.classes else ClassList.of_dataset(root)
    image_ids = read_image_ids(args.image_set)
    index = build_index(args.annotations, image_ids, classes, cache=args.cache, workers=args.workers)
    values = motion_iou(index, args.reach)
    frames = per_frame(index, values)
    save(args.out, image_ids, frames)
    slow, fast = int((values > 0.9).sum()), int((values < 0.7).sum())
    shares = f"{slow} slow, {len(values) - slow - fast} medium, {fast} fast"
    logger.info("%s: %d objects in %d frames (%s)", args.out, len(values), len(frames), shares)
    if args.compare:
        logger.info("%s", compared(frames, load(args.compare, image_ids), args.compare))


def compared(frames: Sequence[np.ndarray], others: Sequence[np.ndarray], path: Path) -> str:
    """One line on how two sets of motion values differ."""
    alike = [(one, other) for one, other in zip(frames, others) if len(one) == len(other)]
    apart = np.abs(np.concatenate([np.zeros(1), *(one - other for one, other in alike)]))
    counts = f"{len(frames) - len(alike)} frames with another number of objects"
    return f"{path}: {counts}, {(apart > 1e-6).sum()} values differ, by {apart.max():.3g} at most"


if __name__ == "__main__":
    main()
