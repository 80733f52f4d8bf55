"""The options that the importers share, and what they do once the annotations are read."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from lib.dataset import check
from lib.dataset.classes import ClassList
from lib.dataset.importing.clips import Found
from lib.dataset.importing.frames import HOW, Writing
from lib.dataset.importing.write import held_out, write_dataset
from lib.errors import InputError, read_text

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--out, --classes, --val-share, --val-videos, --seed, --pictures, --quality."""
    add = parser.add_argument
    add("--out", type=Path, required=True, help="the dataset's folder to make, say data/mine; it must not be there")
    classes = "class list `id name [#rrggbb]` that chooses and orders the classes (default: those of the annotations)"
    add("--classes", type=Path, metavar="FILE", help=classes)
    add("--val-share", type=float, default=0.2, help="share of the videos held out for testing (default: 0.2)")
    add("--val-videos", type=Path, metavar="FILE", help="names of the videos held out, one a line, instead of a share")
    add("--seed", type=int, default=0, help="which videos are held out (default: 0)")
    pictures = "how JPEG files get into the dataset; other pictures and films are always encoded (default: symlink)"
    add("--pictures", choices=HOW, default="symlink", help=pictures)
    add("--quality", type=int, default=95, help="JPEG quality of what is encoded, 1 to 100 (default: 95)")


def run(args: argparse.Namespace, found: Found, source: str) -> None:
    """Writes the dataset, then checks it and prints the report; exit status 1 where the check finds faults."""
    if not 1 <= args.quality <= 100:
        raise InputError(f"--quality {args.quality}: give a number from 1 to 100")
    given = ClassList.load(args.classes) if args.classes else None
    val = _val(args, found)
    writing = Writing(args.pictures, args.quality)
    dropped = write_dataset(args.out, found, val, source=source, given=given, writing=writing)
    for reason, count in dropped.items():
        logger.info("left out: %d objects %s", count, reason)
    logger.info(
        "%s: %d videos to train on, %d to test on; checking it", args.out, len(found.videos) - len(val), len(val)
    )
    # Objects of one's own videos come and go: a gap in a track is counted, and no fault.
    check.main(["--root", str(args.out), "--allow-gaps"])


def _val(args: argparse.Namespace, found: Found) -> set[str]:
    names = [video.name for video in found.videos]
    if args.val_videos is None:
        return found.val if found.val is not None else held_out(names, args.val_share, args.seed)
    lines = read_text(args.val_videos, "give a text file of video names").splitlines()
    val = set()
    for number, line in enumerate(lines, 1):
        if line.strip() and line.strip() not in names:
            known = ", ".join(sorted(names)[:5])
            raise InputError(f"{args.val_videos}:{number}: no video {line.strip()!r}; there is {known}")
        if line.strip():
            val.add(line.strip())
    if val == set(names):
        raise InputError(f"{args.val_videos}: names all videos, none is left to train on; leave some out")
    return val
