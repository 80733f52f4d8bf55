"""The content of a report, as JSON that lib/eval/report.js shows."""

from __future__ import annotations

import base64
import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from lib.dataset.image import read
from lib.errors import InputError
from lib.eval.behaviour import clips
from lib.eval.bootstrap import bootstrap
from lib.eval.errors import behaviour_tables, kind_tables
from lib.eval.kinds import KINDS, Errors, find_errors
from lib.eval.stored import Run
from lib.eval.tables import Table, class_table, motion_area_table, motion_columns, side_by_side

POINTS = 60  # of a precision-recall curve
QUALITY = 80  # of embedded frames, as WebP


def content(
    runs: dict[str, Run],
    *,
    title: str,
    score: float,
    lowest: float,
    frames: str,
    images: Path | None,
    limit: int,
    side: int,
    draws: int,
    out: Path,
) -> dict:
    """Tables and clips of runs by name. The options are those of `lib.eval.report`; limit is in bytes.

    Raises InputError if the results are not of the same objects or a frame cannot be read.
    """
    names, first = list(runs), next(iter(runs.values()))
    _check_same(runs)
    errors = {name: find_errors(run) for name, run in runs.items()}
    intervals = {name: bootstrap(run.result, draws) for name, run in runs.items()}
    columns = [first.result.motion_ranges[r].name for r in motion_columns(first.result)]
    summary = side_by_side({name: (run.result, intervals[name]) for name, run in runs.items()}, columns)
    kinds = {name: kind_tables(run, errors[name]) for name, run in runs.items()}
    rows = [[kind, *(kinds[name][0].rows[k][2] for name in names)] for k, kind in enumerate(KINDS)]
    costs = Table("Kinds of errors: points of mAP that fixing each would add", ["", *names], rows)
    sections = [
        {
            "name": name,
            "tables": [_table(table) for table in (
                motion_area_table(run.result), *kinds[name], class_table(run.result),
                *behaviour_tables(run, errors[name], score),
            )],
        }
        for name, run in runs.items()
    ]  # fmt: skip
    quality = {name: clips(run, score) for name, run in runs.items()}
    shown = [_clip(video, runs, errors, lowest) for video in range(len(first.truth.videos))]
    for video, clip in enumerate(shown):
        clip["f1"] = [round(quality[name][video].f1, 4) for name in names]
    notes = [f"Detections with a score below {lowest:g} are left out of the clips, not of the tables."]
    notes += _add_frames(shown, first, frames, images or _images_of(first), limit, side, out)
    return {
        "title": title, "score": score, "lowest": lowest, "truth": True, "methods": names, "kinds": ["true", *KINDS],
        "classes": first.result.classes.names, "summary": [_table(summary), _table(costs)], "sections": sections,
        "curves": _curves(runs), "clips": shown, "layers": [], "notes": notes,
    }  # fmt: skip


def frame_url(image: np.ndarray, side: int) -> str:
    """A BGR image as a data: address, shrunk until its longer side has at most `side` pixels."""
    scale = side / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return data_url(image, QUALITY)


def frames_note(side: int) -> str:
    """What a reader of a report should know about its frames."""
    return f"Frames are WebP images of quality {QUALITY}, with at most {side} pixels a side."


def data_url(image: np.ndarray, quality: int = 101) -> str:
    """A BGR image as a data: address, as WebP of this quality; above 100, lossless."""
    return _url(cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes(), "webp")


def _url(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(data).decode()


def _check_same(runs: dict[str, Run]) -> None:
    (name, first), *others = runs.items()
    for other, run in others:
        same = first.result.classes.names == run.result.classes.names and all(
            np.array_equal(getattr(first.truth, key), getattr(run.truth, key))
            for key in ("frame_ids", "boxes", "classes", "tracks")
        )
        if not same or first.result.motion_ranges != run.result.motion_ranges:
            raise InputError(
                f"{name} and {other} are not of the same objects and ranges; evaluate both on one image set"
            )


def _table(table: Table) -> dict:
    return {"title": table.title, "columns": table.columns, "rows": table.rows, "matrix": table.matrix}


def _curves(runs: dict[str, Run]) -> list[dict]:
    """Average precision, and interpolated precision over recall as [recall, precision] pairs, for all motion, by class
    and method.
    """
    first = next(iter(runs.values())).result
    found = []
    r = motion_columns(first)[0]
    for c, name in enumerate(first.classes.names):
        if not first.objects[r, 0, c]:
            continue
        lines = []
        for run in runs.values():
            recall, precision, _ = run.result.outcomes.curve(r, 0, c)
            best = np.maximum.accumulate(precision[::-1])[::-1]
            some = np.searchsorted(recall, np.linspace(0, recall[-1], POINTS)) if len(recall) else np.empty(0, int)
            lines.append(np.stack([recall[some], best[some]], axis=1).round(4).tolist())
        ap = [round(float(run.result.ap[r, 0, c]), 4) for run in runs.values()]
        found.append({"class": name, "lines": lines, "ap": ap})
    return found


def _clip(video: int, runs: dict[str, Run], errors: dict, lowest: float) -> dict:
    """A clip: objects [class from 0, x1, y1, x2, y2, track, the score with which each method found it or -1], and for
    each method detections [class from 0, score, x1, y1, x2, y2, kind, track of the object or -1], by frame.
    """
    truth = next(iter(runs.values())).truth
    positions = np.flatnonzero(truth.frame_videos == video)
    scores = []
    for run in runs.values():
        best = np.full(len(truth.classes), -1.0)
        hits = run.found.order[run.found.matched[run.found.order] >= 0]
        best[run.found.matched[hits]] = run.detections.scores[hits]
        scores.append(best)
    objects = [
        [
            [int(truth.classes[m]) - 1, *truth.boxes[m].round(1).tolist(), int(truth.tracks[m]),
             *(round(float(best[m]), 4) for best in scores)]
            for m in range(truth.object_starts[f], truth.object_starts[f + 1])
        ]
        for f in positions
    ]  # fmt: skip
    width, height = truth.sizes[positions[0]].tolist()
    return {
        "name": truth.videos[video], "frames": [truth.image_ids[f].rpartition("/")[2] for f in positions],
        "width": width, "height": height, "objects": objects, "images": [],
        "detections": [list(_detections(run, errors[name], positions, lowest)) for name, run in runs.items()],
    }  # fmt: skip


def _detections(run: Run, errors: Errors, positions: np.ndarray, lowest: float) -> Iterator[list]:
    table, found = run.detections, run.found
    rows = found.order[table.scores[found.order] >= lowest]
    rows = rows[np.argsort(found.frames[rows], kind="stable")]
    starts = np.searchsorted(found.frames[rows], positions)
    ends = np.searchsorted(found.frames[rows], positions, side="right")
    for start, end in zip(starts, ends):
        yield [
            [int(found.classes[row]) - 1, round(float(table.scores[row]), 4), *table.boxes[row].round(1).tolist(),
             int(errors.kinds[row]), int(run.truth.tracks[found.matched[row]]) if found.matched[row] >= 0 else -1]
            for row in rows[start:end]
        ]  # fmt: skip


def _images_of(run: Run) -> Path:
    folder = run.annotations if run.annotations.name != "Annotations" else run.annotations / "VID"
    return folder.parent.parent / "Data" / folder.name


def _add_frames(shown: list[dict], run: Run, how: str, images: Path, limit: int, side: int, out: Path) -> list[str]:
    """Set `images` of each clip; returns what was left out."""
    if how == "none":
        return ["Frames are left out (--frames none)."]
    if how == "link":
        start = out.resolve().parent
        for clip in shown:
            paths = [images.resolve() / clip["name"] / f"{frame}.JPEG" for frame in clip["frames"]]
            clip["images"] = [urllib.parse.quote(Path(os.path.relpath(path, start)).as_posix()) for path in paths]
        return ["Frames are links to the dataset, and are not shown where the dataset is not found."]
    room, missing = limit, 0
    for clip in sorted(shown, key=lambda clip: min(clip["f1"])):
        urls: list[str] = []
        left = room
        for frame in clip["frames"]:
            urls.append(embedded(images / clip["name"] / f"{frame}.JPEG", side))
            left -= len(urls[-1])
            if left < 0:
                missing += 1
                break
        else:
            clip["images"], room = urls, left
    notes = [frames_note(side)]
    if missing:
        notes.append(
            f"The frames of {missing} of {len(shown)} clips are left out, since embedded frames may take at most "
            f"{limit / 1e6:g} MB (--limit). The worst clips come first."
        )
    return notes


def embedded(path: Path, side: int) -> str:
    """A frame as a data: address: as WebP, or the file itself where that is smaller."""
    if not path.exists():
        raise InputError(f"{path}: no such image; pass --images, or --frames none")
    image, data = read(path), path.read_bytes()
    url = frame_url(image, side)
    return min(url, _url(data, "jpeg"), key=len) if max(image.shape[:2]) <= side else url
