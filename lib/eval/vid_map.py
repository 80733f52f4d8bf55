"""Evaluate detection files on ImageNet VID or any dataset in its layout.

    python -m lib.eval.vid_map --detections detections.txt --annotations data/X/Annotations/VID \\
        --image-set data/X/ImageSets/VID_val_frames.txt --json output/result.json

Prints mean average precision by motion, by motion and area, and by class. docs/evaluation.md lists all rules.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from lib.argument import Parser, whole
from lib.config import load_config
from lib.dataset.classes import ClassList
from lib.errors import InputError, command, start_logging
from lib.eval.bootstrap import bootstrap
from lib.eval.coco import coco_average_precision
from lib.eval.detections import DetectionTable, read_detections
from lib.eval.evaluation import Evaluation, evaluate
from lib.eval.manifest import manifest
from lib.eval.ranges import AREA, MOTION, parse_ranges
from lib.eval.rescore import rescore
from lib.eval.results import outcomes_path, save_result
from lib.eval.tables import report
from lib.eval.truth import Truth, load_truth
from lib.files import replacing
from lib.output_paths import check_distinct, check_folder, check_output

log = logging.getLogger(__name__)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line of `python -m lib.eval.vid_map`."""
    parser = Parser(
        prog="python -m lib.eval.vid_map",
        description="Print the mean average precision of detection files by motion and area.",
    )
    add = parser.add_argument
    add("--detections", type=Path, nargs="+", required=True, metavar="FILE",
        help="detection files (.txt, .txt.gz, .npy), evaluated together")  # fmt: skip
    add("--annotations", type=Path, required=True, metavar="DIR", help="folder of XML files (Annotations/VID)")
    add("--image-set", type=Path, required=True, metavar="FILE",
        help="list of frames (`<image> <id>`) or of videos (`<video> <id> 0 <frames>`)")  # fmt: skip
    add("--motion-iou", type=Path, metavar="FILE",
        help="motion of the objects, .mat or .json (default: computed from track ids)")  # fmt: skip
    add("--classes", type=Path, metavar="FILE",
        help="class list (default: classes.txt of the dataset, else the 30 classes of ImageNet VID)")  # fmt: skip
    add("--json", type=check_output, metavar="OUT",
        help="write the result to this file, and its outcomes, which comparisons need, next to it (not to /dev/stdout "
        "or a pipe)")  # fmt: skip
    add("--markdown", type=check_output, metavar="OUT", help="write the tables to this file as Markdown")
    add("--pictures", type=Path, metavar="DIR", help="write plots of precision-recall curves and mAP to this folder")
    add("--motion-range", action="append", default=[], metavar="NAME=LOW:HIGH",
        help="motion range to use instead of all, fast, medium, slow; may be repeated")  # fmt: skip
    add("--area-range", action="append", default=[], metavar="NAME=LOW:HIGH",
        help="area range in pixels to use instead of all, small, middle, large; may be repeated")  # fmt: skip
    add("--iou", type=float, default=0.5, help="minimum IoU of a match (default: 0.5; lower for small objects)")
    add("--plain", action="store_true", help="plain VID AP, without motion and area ranges")
    add("--seq-nms", action="store_true", help="apply Seq-NMS to the detections first")
    add("--coco", action="store_true", help="also compute COCO-style AP@[.5:.95] with pycocotools")
    add("--bootstrap", type=int, default=0, metavar="N", help="add 95 %% intervals from N samples of the videos")
    add("--seed", type=whole, default=0, help="random seed of the bootstrap (default: 0)")
    add("--cfg", type=Path, metavar="YAML", help="settings of the test run: sets the ranges, recorded in the result")
    add("--weights", type=Path, metavar="FILE", help="weights of the test run: their SHA-256 is recorded in the result")
    add("--cache", type=Path, default=Path("output/cache"), metavar="DIR",
        help="folder for parsed annotations, keyed by content (default: output/cache)")  # fmt: skip
    add("--workers", type=whole, default=0, help="number of processes (default: one per core)")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    start_logging()
    outputs = [args.json, args.markdown]
    if args.json:
        outputs.append(outcomes_path(args.json))
    if args.pictures:
        # matplotlib takes a second to import and is needed only here.
        from lib.eval.pictures import picture_paths, save_pictures

        check_folder(args.pictures)
        outputs += picture_paths(args.pictures)
    check_distinct(
        [*args.detections, args.annotations, args.image_set, args.motion_iou, args.classes, args.cfg, args.weights],
        outputs,
    )
    result, truth, table = _evaluated(args)
    if result.unknown_frames:
        log.warning("ignored %d detections on frames outside %s", result.unknown_frames, args.image_set)
    coco = coco_average_precision(table, truth, result.classes) if args.coco else None
    intervals = bootstrap(result, args.bootstrap, args.seed) if args.bootstrap else None
    tables = report(result, intervals, coco)
    if args.json:
        about = manifest(
            config=args.cfg, weights=args.weights, detections=args.detections, image_set=args.image_set,
            annotations=args.annotations, motion_iou=args.motion_iou, class_list=args.classes, iou=args.iou,
            seq_nms=args.seq_nms,
        )  # fmt: skip
        save_result(args.json, result, about, intervals=intervals, coco=coco)
    if args.markdown:
        with replacing(args.markdown, pipes=True) as temporary:
            temporary.write_text(tables.markdown(), encoding="utf-8")
    if args.pictures:
        save_pictures(result, args.pictures)
    if any(outputs):
        log.info("wrote %s", ", ".join(str(path) for path in outputs if path))
    sys.stdout.write(tables.text())


def _evaluated(args: argparse.Namespace) -> tuple[Evaluation, Truth, DetectionTable]:
    cfg = load_config(args.cfg) if args.cfg else None
    if args.weights is not None and not args.weights.is_file():
        raise InputError(f"{args.weights}: no such weights; pass the file that produced the detections")
    if not 0 < args.iou <= 1:
        raise InputError(f"--iou {args.iou}: give a number above 0 and at most 1")
    motion = parse_ranges(args.motion_range or (cfg.TEST.MOTION_RANGES if cfg else []), MOTION, "motion")
    area = parse_ranges(args.area_range or (cfg.TEST.AREA_RANGES if cfg else []), AREA, "area")
    if args.plain:
        motion, area = MOTION[:1], AREA[:1]
    classes = ClassList.load(args.classes) if args.classes else _classes_of(args.annotations)
    table = read_detections(args.detections, len(classes))
    truth = load_truth(
        args.annotations, args.image_set, classes, motion_file=args.motion_iou, motion=not args.plain,
        cache=args.cache, workers=args.workers,
    )  # fmt: skip
    if args.seq_nms:
        table = rescore(table, truth.image_ids, truth.frame_ids, workers=args.workers)
    result = evaluate(table, truth, classes, motion_ranges=motion, area_ranges=area, iou=args.iou)
    return result, truth, table


def _classes_of(annotations: Path) -> ClassList:
    """The class list of the dataset that contains this folder, Annotations or Annotations/VID."""
    folder = annotations.resolve()
    return ClassList.of_dataset(folder.parent if folder.name == "Annotations" else folder.parent.parent)


if __name__ == "__main__":
    main()
