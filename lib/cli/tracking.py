"""Scores tracks with TrackEval: HOTA, MOTA and IDF1 of the tracks that `--track` makes of detections.

    python -m lib.cli.tracking --root data/MiniVID --results output/.../detections.txt --mot output/tracks

Each of --results is a detection file of a test, whose detections are tracked as in the demo with this --threshold, or
a folder of MOTChallenge files, <video>.txt with / in the name of a video written as _. With --mot, the tracks of
detection files are written as such a folder. TrackEval matches each class separately; `all` sums the classes up, and
`mean` averages them. DetA and AssA are the parts of HOTA for detection and association, IDs the identity switches.

TrackEval is not installed by default: `pip install --no-deps trackeval tabulate`.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.argument import Parser, real
from lib.bbox.detections import Detections
from lib.bbox.overlaps import overlaps
from lib.dataset.classes import ClassList
from lib.dataset.exporting.clips import ClipTrack, ExportClip, TrackBox
from lib.dataset.exporting.formats import mot, write_text
from lib.dataset.imagenet_vid import list_path
from lib.dataset.importing.clips import edges_of
from lib.dataset.index import AnnotationIndex, build_index
from lib.errors import InputError, command, read_text, start_logging
from lib.eval.detections import read_detections
from lib.eval.tables import Table
from lib.eval.truth import read_image_set, videos_of
from lib.output_paths import check_distinct, check_folder
from lib.video.tracks import FAINT, Tracker

log = logging.getLogger(__name__)

SHOWN = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW")


@dataclass(frozen=True)
class Tracks:
    """The boxes of one video's tracks. frames from 0, ids, classes (N,) int64; boxes (N, 4) inclusive pixels."""

    frames: np.ndarray
    ids: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray

    def of_class(self, cls: int) -> Tracks:
        chosen = self.classes == cls
        return Tracks(self.frames[chosen], self.ids[chosen], self.classes[chosen], self.boxes[chosen])


def true_tracks(index: AnnotationIndex) -> dict[str, Tracks]:
    """The annotated tracks of each video. Raises InputError if an object has no track."""
    if (index.tracks < 0).any():
        image = index.image_ids[int(np.searchsorted(index.offsets, (index.tracks < 0).argmax(), "right")) - 1]
        raise InputError(f"{image}: an object without a track id; tracks cannot be scored on this dataset")
    videos, of_frame = videos_of(index.image_ids)
    places = _places(of_frame)
    frame = np.repeat(np.arange(len(index)), np.diff(index.offsets))
    rows = [np.flatnonzero(of_frame[frame] == number) for number in range(len(videos))]
    return {
        video: Tracks(places[frame[row]], index.tracks[row].astype(np.int64), index.classes[row], index.boxes[row])
        for video, row in zip(videos, rows)
    }


def _places(of_frame: np.ndarray) -> np.ndarray:
    """The position of each frame in its video."""
    count: dict[int, int] = {}
    result = np.empty(len(of_frame), np.int64)
    for row, video in enumerate(of_frame.tolist()):
        result[row] = count.get(video, 0)
        count[video] = result[row] + 1
    return result


def tracked_clips(
    path: Path, image_ids: Sequence[str], frame_ids: np.ndarray, classes: ClassList, threshold: float
) -> Iterator[ExportClip]:
    """The videos of an image set with the tracks that `Tracker` makes of the detections in the file `path`."""
    table = read_detections([path], len(classes))
    table = table.take(np.flatnonzero(table.scores >= min(threshold, FAINT)))
    table = table.take(np.argsort(table.frame_ids, kind="stable"))
    videos, of_frame = videos_of(image_ids)
    for number, video in enumerate(videos):
        tracker = Tracker(start=threshold)
        rows = np.flatnonzero(of_frame == number)
        boxes: dict[int, list[TrackBox]] = {}
        labels: dict[int, int] = {}
        for place, frame_id in enumerate(frame_ids[rows]):
            first, last = np.searchsorted(table.frame_ids, [frame_id, frame_id + 1])
            part = table.take(slice(first, last))
            found = tracker(
                Detections(part.boxes.astype(np.float32), part.scores.astype(np.float32), part.classes.astype(np.int32))
            )
            assert found.tracks is not None
            for track, cls, score, box in zip(
                *(each.tolist() for each in (found.tracks, found.classes, found.scores, found.boxes))
            ):
                boxes.setdefault(track, []).append(TrackBox(place, edges_of(box), score=score))
                labels[track] = cls
        tracks = [ClipTrack(labels[track], track, group) for track, group in boxes.items()]
        yield ExportClip(video, video, range(len(rows)), None, [(0, 0)] * len(rows), classes.names, tracks)


def parse_mot(text: str, where: str) -> Tracks:
    """Reads MOTChallenge lines. Raises InputError for a malformed line."""
    rows = []
    for line, row in enumerate(text.splitlines(), 1):
        try:
            values = [float(value) for value in row.split(",")]
            rows.append((values[0], values[1], *values[2:6], values[7]))
        except (ValueError, IndexError) as error:
            raise InputError(f"{where}:{line}: write frame,id,left,top,width,height,score,class,visibility") from error
    table = np.array(rows, np.float64).reshape(-1, 7)
    frames, ids, classes = ((table[:, column] - shift).astype(np.int64) for column, shift in ((0, 1), (1, 0), (6, 0)))
    left, top, width, height = table[:, 2:6].T
    return Tracks(frames, ids, classes, np.stack([left - 1, top - 1, left + width - 2, top + height - 2], axis=1))


def mot_name(video: str) -> str:
    """The name of a video's MOT file."""
    return f"{video.replace('/', '_')}.txt"


def score(
    truth: Mapping[str, Tracks], found: Mapping[str, Tracks], lengths: Mapping[str, int], classes: int
) -> dict[int | str, dict[str, float]]:
    """HOTA, DetA, AssA, MOTA, IDF1 (percent) and IDSW (a number) of each class that occurs, `all` and `mean`.

    truth, found: tracks by video; lengths: number of frames by video. Raises InputError if TrackEval is missing.
    """
    try:
        from trackeval.metrics import CLEAR, HOTA, Identity
    except ImportError as error:
        raise InputError("TrackEval is not installed; run `pip install --no-deps trackeval tabulate`") from error
    quiet = {"PRINT_CONFIG": False}
    metrics = [HOTA(), CLEAR(quiet), Identity(quiet)]
    used = [cls for cls in range(1, classes + 1) if any((tracks.classes == cls).any() for tracks in truth.values())]
    results: dict[int | str, dict[str, float]] = {}
    parts: list[dict] = [{} for _ in metrics]
    for cls in used:
        data = {
            video: _sequence(truth[video].of_class(cls), found[video].of_class(cls), lengths[video]) for video in truth
        }
        for metric, part in zip(metrics, parts):
            part[cls] = metric.combine_sequences({video: metric.eval_sequence(each) for video, each in data.items()})
        results[cls] = _shown([part[cls] for part in parts])
    mean = {name: float(np.mean([results[cls][name] for cls in used])) for name in SHOWN}
    results["all"] = _shown([metric.combine_classes_det_averaged(part) for metric, part in zip(metrics, parts)])
    return {**results, "mean": mean}


def _shown(parts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    values = {name: value for part in parts for name, value in part.items()}
    percent = {name: 100 * float(np.mean(values[name])) for name in SHOWN[:-1]}
    return {**percent, "IDSW": float(values["IDSW"])}


def _sequence(truth: Tracks, found: Tracks, length: int) -> dict[str, Any]:
    """One class of one video as TrackEval's metrics take it: ids numbered from 0, and the IoUs of each frame."""
    (true_ids, true), (found_ids, tracked) = (np.unique(part.ids, return_inverse=True) for part in (truth, found))
    rows = [[np.flatnonzero(part.frames == frame) for part in (truth, found)] for frame in range(length)]
    return {
        "num_timesteps": length,
        "num_gt_ids": len(true_ids),
        "num_tracker_ids": len(found_ids),
        "num_gt_dets": len(true),
        "num_tracker_dets": len(tracked),
        "gt_ids": [true[row] for row, _ in rows],
        "tracker_ids": [tracked[row] for _, row in rows],
        "similarity_scores": [overlaps(truth.boxes[one], found.boxes[other]) for one, other in rows],
    }


def table(results: Mapping[str, Mapping[str, float]], title: str) -> Table:
    """A row for each of `results`."""
    rows = [
        [name, *(f"{values[column]:.{0 if column == 'IDSW' else 1}f}" for column in SHOWN)]
        for name, values in results.items()
    ]
    return Table(title, ["", *("IDs" if column == "IDSW" else column for column in SHOWN)], rows)


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(
        prog="python -m lib.cli.tracking", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--root", type=Path, required=True, help="dataset folder (contains Annotations and ImageSets)")
    add(
        "--results",
        type=Path,
        nargs="+",
        required=True,
        metavar="WHAT",
        help="detection files, or folders of MOT files",
    )
    add("--image-set", default="VID_val_videos", help="list of the videos (default: %(default)s)")
    add("--threshold", type=real(0, 1), default=0.5, help="lowest score that starts a track (default: %(default)s)")
    add("--mot", type=Path, metavar="DIR", help="write the tracks of detection files to DIR/<number>/<video>.txt")
    args = parser.parse_args(argv)
    start_logging()
    folders = [args.mot / str(number) for number in range(1, len(args.results) + 1)] if args.mot else []
    if args.mot:
        check_folder(args.mot)
    check_distinct(args.results, [folder for folder, path in zip(folders, args.results) if not path.is_dir()])
    classes = ClassList.of_dataset(args.root)
    image_ids, frame_ids = read_image_set(list_path(args.root, args.image_set))
    truth = true_tracks(build_index(args.root / "Annotations" / "VID", image_ids, classes))
    videos, of_frame = videos_of(image_ids)
    lengths = dict(zip(videos, np.bincount(of_frame).tolist()))
    everything = {}
    for number, path in enumerate(args.results, 1):
        if path.is_dir():
            texts = {video: read_text(path / mot_name(video), "write a file for each video") for video in videos}
        else:
            clips = tracked_clips(path, image_ids, frame_ids, classes, args.threshold)
            texts = {clip.name: mot(clip) for clip in clips}
            for video, text in texts.items() if args.mot else ():
                write_text(folders[number - 1] / mot_name(video), text)
        found = {video: parse_mot(text, f"{path}: {mot_name(video)}") for video, text in texts.items()}
        results = score(truth, found, lengths, len(classes))
        everything[str(path)] = results["all"]
        named = {classes.names[key - 1] if isinstance(key, int) else key: value for key, value in results.items()}
        log.info("%s", table(named, f"Tracks of {path}").text())
    if len(everything) > 1:
        log.info("%s", table(everything, "All classes").text())


if __name__ == "__main__":
    main()
