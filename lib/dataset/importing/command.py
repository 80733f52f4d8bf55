"""The command line of the importers: the options that they share, and what happens once the annotations are read."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from lib.argument import Parser, whole
from lib.dataset import check
from lib.dataset.classes import ClassList
from lib.dataset.importing.clips import Found
from lib.dataset.importing.frames import HOW, Writing
from lib.dataset.importing.write import held_out, write_dataset
from lib.dataset.media import VIDEOS
from lib.errors import InputError, command, counted, quoted, read_text, start_logging

log = logging.getLogger(__name__)


def importer(
    name: str,
    description: str,
    add_options: Callable[[Callable], None],
    read: Callable[[argparse.Namespace], tuple[Found, Sequence[Path]]],
) -> Callable[..., None]:
    """`main` of the command `python -m lib.dataset.<name>`, which writes a dataset and checks it.

    add_options: adds the importer's own options with the `add_argument` that it is given.
    read: reads the annotations that the parsed options name. Returns them and the paths they come from.
    The exit status of the command is 1 if the check finds faults, 2 after an InputError.
    """

    @command
    def main(argv: Sequence[str] | None = None) -> None:
        parser = Parser(
            prog=f"python -m lib.dataset.{name}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_options(parser.add_argument)
        _add_shared_options(parser.add_argument)
        args = parser.parse_args(argv)
        start_logging()
        _write_and_check(args, *read(args))

    return main


def _add_shared_options(add: Callable) -> None:
    add("--out", type=Path, required=True, help="folder of the new dataset, such as data/mine; it must not exist")
    classes = "class list `id name [#rrggbb]` that selects and orders the classes (default: those of the annotations)"
    add("--classes", type=Path, metavar="FILE", help=classes)
    add("--val-share", type=float, default=0.2, help="share of the videos held out for testing (default: 0.2)")
    add("--val-videos", type=Path, metavar="FILE", help="names of the videos to hold out instead, one per line")
    add("--seed", type=whole, default=0, help="random seed for choosing the videos to hold out (default: 0)")
    pictures = "how JPEG files get into the dataset; other images and videos are always encoded (default: symlink)"
    add("--pictures", choices=HOW, default="symlink", help=pictures)
    add("--quality", type=int, default=95, help="JPEG quality of encoded images, 1 to 100 (default: 95)")


def _write_and_check(args: argparse.Namespace, found: Found, paths: Sequence[Path]) -> None:
    if not 1 <= args.quality <= 100:
        raise InputError(f"--quality {args.quality}: give a number from 1 to 100")
    given = ClassList.load(args.classes) if args.classes else None
    val = _val_videos(args, found)
    source = ", ".join(map(str, paths[:3])) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
    writing = Writing(args.pictures, args.quality)
    written = write_dataset(args.out, found, val, source=source, given=given, writing=writing)
    for reason, count in written.dropped.items():
        log.info("left out: %d %s", count, reason)
    train = len(found.videos) - len(val)
    log.info(
        "%s: %s for training, %d for testing, with %s, %s, %s, %d left out; checking it",
        args.out, counted(train, "video"), len(val), counted(written.frames, "frame"),
        counted(written.objects, "object"), counted(written.tracks, "track"), sum(written.dropped.values()),
    )  # fmt: skip
    # In users' videos, objects often leave and come back: gaps in tracks are counted, but are not faults.
    check.main(["--root", str(args.out), "--allow-gaps"])


def _val_videos(args: argparse.Namespace, found: Found) -> set[str]:
    names = [video.name for video in found.videos]
    if args.val_videos is None:
        return found.val if found.val is not None else held_out(names, args.val_share, args.seed)
    val = set()
    for number, line in enumerate(read_text(args.val_videos, "give a text file of video names").splitlines(), 1):
        name = line.strip()
        if name not in names and Path(name).suffix.lower() in VIDEOS:
            name = Path(name).stem
        if name and name not in names:
            known = ", ".join(sorted(names)[:5])
            raise InputError(f"{args.val_videos}:{number}: no video {quoted(name)}; the videos include {known}")
        if name:
            val.add(name)
    if val == set(names):
        raise InputError(f"{args.val_videos}: lists every video and leaves none to train on; remove some")
    return val
