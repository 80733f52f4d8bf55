"""What goes wrong in a result, and what each kind of error costs.

    python -m lib.eval.errors output/result.json

Prints the six kinds of errors of TIDE with the mAP that fixing each would add, by motion, area and class; then, for
the detections with a score of at least --score, the confusion of classes, how steadily objects are found, and the
worst videos and objects; and the calibration of all scores. docs/evaluation.md has the definitions. Needs the
detections and annotations that the result was computed from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib.argument import Parser, real
from lib.errors import command
from lib.eval.behaviour import BINS, Calibration, Track, calibration, clips, confusion, tracks
from lib.eval.kinds import KINDS, Errors, find_errors, gains
from lib.eval.results import outcomes_path
from lib.eval.stored import Run, load_run
from lib.eval.tables import Report, Table, grid, motion_columns, percent
from lib.files import write_json
from lib.output_paths import check_distinct, check_output

WORST = 10


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line of `python -m lib.eval.errors`."""
    parser = Parser(
        prog="python -m lib.eval.errors", description="Print the kinds of errors of a result, and what each costs."
    )
    add = parser.add_argument
    add("result", type=Path, metavar="RESULT.json", help="result of lib.eval.vid_map --json or of a test script")
    add("--score", type=real(0, 1), default=0.5, help="lowest score of the detections in confusion, tracks and worst "
        "videos (default: %(default)s)")  # fmt: skip
    add("--markdown", action="store_true", help="print Markdown instead of plain text")
    add("--json", type=check_output, metavar="OUT", help="also write all figures to this file")
    add_locations(parser)
    return parser.parse_args(argv)


def add_locations(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say where the files of a result are now."""
    add = parser.add_argument
    add("--annotations", type=Path, metavar="DIR", help="folder of XML files, if moved since the evaluation")
    add("--cache", type=Path, default=Path("output/cache"), metavar="DIR",
        help="folder for parsed annotations, keyed by content (default: output/cache)")  # fmt: skip


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    check_distinct([args.result, outcomes_path(args.result), args.annotations], [args.json])
    run = load_run(args.result, annotations=args.annotations, cache=args.cache)
    errors = find_errors(run)
    tables = Report([*kind_tables(run, errors), *behaviour_tables(run, errors, args.score)])
    if args.json:
        write_json(args.json, figures(run, errors, args.score))
    sys.stdout.write(tables.markdown() if args.markdown else tables.text())


def kind_counts(errors: Errors) -> list[int]:
    """The number of errors of each of KINDS, among all detections and objects."""
    counts = np.bincount(errors.kinds, minlength=len(KINDS))
    return [*(int(count) for count in counts[1 : len(KINDS)]), int(errors.missed.sum())]


def kind_tables(run: Run, errors: Errors) -> list[Table]:
    """The kinds of errors by motion and area, and by class."""
    by_class, mean = gains(run, errors)
    result = run.result
    motion, (_, areas) = motion_columns(result), grid(result)
    areas = [a for a in areas if a != 0]
    ranges = [*((r, 0) for r in motion), *((motion[0], a) for a in areas)]
    rows = [
        [name, str(count), *(points(mean[k, r, a]) if result.objects[r, a].any() else "-" for r, a in ranges)]
        for k, (name, count) in enumerate(zip(KINDS, kind_counts(errors)))
    ]
    names = [result.motion_ranges[r].name for r in motion] + [result.area_ranges[a].name for a in areas]
    classes = [
        [name, *(points(by_class[k, motion[0], 0, c]) for k in range(len(KINDS)))]
        for c, name in enumerate(result.classes.names)
        if result.objects[motion[0], 0, c]
    ]
    return [
        Table("Kinds of errors: number, and points of mAP that fixing each would add", ["", "errors", *names], rows),
        Table("The same by class, points of average precision", ["class", *KINDS], classes),
    ]


def difference_of_kinds(first: Run, second: Run) -> Table:
    """What each kind of error costs in two results: points of mAP over all motion, and B - A."""
    values, counts = [], []
    for run in (first, second):
        errors = find_errors(run)
        values.append(gains(run, errors)[1][:, motion_columns(run.result)[0], 0])
        counts.append(kind_counts(errors))
    rows = [
        [name, str(counts[0][k]), str(counts[1][k]), points(values[0][k]), points(values[1][k]),
         percent(values[1][k] - values[0][k], signed=True)]
        for k, name in enumerate(KINDS)
    ]  # fmt: skip
    title = "Kinds of errors: number, and points of mAP that fixing each would add"
    return Table(title, ["", "errors A", "errors B", "mAP A", "mAP B", "B - A"], rows)


def behaviour_tables(run: Run, errors: Errors, score: float) -> list[Table]:
    """Confusion, tracks, worst videos and objects at a score, and calibration."""
    names = run.result.classes.names
    counts = confusion(run, errors, score)
    title = f"Confusion at scores from {score:g}: rows are objects, columns detections"
    rows = [[name, *map(str, line)] for name, line in zip([*names, "background"], counts.tolist())]
    tables = [Table(title, ["", *names, "missed"], rows, matrix=True)]
    listed = tracks(run, score)
    if run.has_tracks:
        tables.append(track_table(run, listed, score))
    worst = sorted(clips(run, score), key=lambda clip: clip.f1)[:WORST]
    rows = [
        [run.truth.videos[clip.video], percent(clip.f1), str(clip.true), str(clip.false), str(clip.missed)]
        for clip in worst
    ]
    tables.append(Table(f"Worst videos at scores from {score:g}", ["video", "F1 %", "true", "false", "missed"], rows))
    if run.has_tracks:
        rows = [
            [f"{run.truth.videos[track.video]} {track.number}", names[track.label - 1], percent(track.share),
             "never" if track.delay is None else str(track.delay), str(track.flicker), str(len(track.frames))]
            for track in sorted(listed, key=lambda track: track.share)[:WORST]
        ]  # fmt: skip
        columns = ["object", "class", "found %", "first found", "flicker", "frames"]
        tables.append(Table(f"Objects found least at scores from {score:g}", columns, rows))
    return [*tables, calibration_table(calibration(run))]


def track_table(run: Run, listed: Sequence[Track], score: float) -> Table:
    """How steadily objects are found, by motion and by class."""
    result = run.result
    groups = [
        (result.motion_ranges[r].name, [t for t in listed if result.motion_ranges[r].holds(np.array(t.motion))])
        for r in motion_columns(result)
    ]
    groups += [(name, [t for t in listed if t.label == c]) for c, name in enumerate(result.classes.names, 1)]
    rows = []
    for name, some in groups:
        if some:
            frames = sum(len(track.frames) for track in some)
            delays = [track.delay for track in some if track.delay is not None]
            rows.append([
                name, str(len(some)), percent(sum(int(track.found.sum()) for track in some) / frames),
                str(sum(track.delay is None for track in some)),
                f"{np.mean(delays):.1f}" if delays else "-",
                f"{100 * sum(track.flicker for track in some) / frames:.1f}",
            ])  # fmt: skip
    columns = ["", "objects", "found %", "never found", "frames until found", "flicker per 100 frames"]
    return Table(f"Objects over time at scores from {score:g}", columns, rows)


def calibration_table(found: Calibration) -> Table:
    """Mean score and precision by range of score."""
    rows = [
        [f"{b / BINS:.1f} to {(b + 1) / BINS:.1f}", str(int(found.counts[b])),
         *([percent(found.confidence[b]), percent(found.precision[b])] if found.counts[b] else ["-", "-"])]
        for b in range(BINS)
    ]  # fmt: skip
    title = f"Calibration: expected error {percent(found.error)} %"
    return Table(title, ["score", "detections", "mean score %", "true %"], rows)


def figures(run: Run, errors: Errors, score: float) -> dict:
    """All figures of the tables, as JSON."""
    by_class, mean = gains(run, errors)
    listed, scores = tracks(run, score), calibration(run)
    return {
        "score": score,
        "kinds": list(KINDS),
        "counts": kind_counts(errors),
        "gain": mean.tolist(),
        "gain_by_class": by_class.tolist(),
        "confusion": confusion(run, errors, score).tolist(),
        "calibration": {
            "counts": scores.counts.tolist(),
            "confidence": scores.confidence.tolist(),
            "precision": scores.precision.tolist(),
            "error": scores.error,
        },
        "tracks": [
            {"video": run.truth.videos[track.video], "track": track.number,
             "class": run.result.classes.names[track.label - 1], "frames": len(track.frames),
             "found": int(track.found.sum()), "delay": track.delay, "flicker": track.flicker, "motion": track.motion}
            for track in listed
        ],
        "videos": [
            {"video": run.truth.videos[clip.video], "true": clip.true, "false": clip.false, "missed": clip.missed,
             "f1": clip.f1}
            for clip in clips(run, score)
        ],
    }  # fmt: skip


def points(value: float) -> str:
    """A gain in points of average precision, which is slightly negative if removing errors moves others."""
    return f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
