"""One HTML file with the tables of one or more results and a browser of their clips.

    python -m lib.eval.report output/rfcn/results.json output/fgfa/results.json --names R-FCN FGFA --out report.html

The file needs neither a server nor a network. Results must be of the same objects. docs/evaluation.md describes the
page.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from lib.argument import Parser, positive, real
from lib.errors import InputError, command, start_logging
from lib.eval.errors import add_locations
from lib.eval.report_data import content
from lib.eval.results import outcomes_path
from lib.eval.stored import load_run
from lib.files import json_text, replacing
from lib.output_paths import check_distinct, check_output

log = logging.getLogger(__name__)
FOLDER = Path(__file__).parent
SCRIPTS = ("report_tables.js", "report_layers.js", "report.js")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line of `python -m lib.eval.report`."""
    parser = Parser(
        prog="python -m lib.eval.report", description="Write a report of results, with their clips, as one HTML file."
    )
    add = parser.add_argument
    add("results", type=Path, nargs="+", metavar="RESULT.json", help="results on the same image set")
    add("--out", type=check_output, required=True, metavar="FILE.html", help="the report")
    add("--names", nargs="+", metavar="NAME", help="a name for each result (default: the paths)")
    add("--title", default="Video object detection", help="heading of the report (default: %(default)s)")
    add("--score", type=real(0, 1), default=0.5, help="lowest score that is shown at first and in the tables "
        "(default: %(default)s)")  # fmt: skip
    add("--lowest", type=real(0, 1), default=0.05, help="leave out detections with a lower score from the clips "
        "(default: %(default)s)")  # fmt: skip
    add("--frames", choices=("embed", "link", "none"), default="embed",
        help="embed them, worst clips first; link: read them from the dataset (default: %(default)s)")  # fmt: skip
    add("--images", type=Path, metavar="DIR", help="folder of the frames (default: Data/VID beside Annotations/VID)")
    add("--limit", type=real(0, 1e6), default=60, metavar="MB",
        help="largest total of embedded frames (default: %(default)s)")  # fmt: skip
    add("--side", type=positive, default=640, metavar="PIXELS",
        help="shrink embedded frames whose longer side is longer (default: %(default)s)")  # fmt: skip
    add("--bootstrap", type=int, default=1000, metavar="N", help="samples for the 95 %% intervals (default: 1000)")
    add_locations(parser)
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    start_logging()
    check_distinct([*args.results, *map(outcomes_path, args.results), args.annotations], [args.out])
    names = args.names or [str(path) for path in args.results]
    if len(names) != len(args.results) or len(set(names)) < len(names):
        raise InputError(f"--names {' '.join(names)}: give {len(args.results)} different names, one for each result")
    runs = [load_run(path, annotations=args.annotations, cache=args.cache) for path in args.results]
    data = content(
        dict(zip(names, runs)), title=args.title, score=args.score, lowest=args.lowest, frames=args.frames,
        images=args.images, limit=round(args.limit * 1e6), side=args.side, draws=args.bootstrap, out=args.out,
    )  # fmt: skip
    write(data, args.out)
    for note in data["notes"]:
        log.info("%s", note)
    log.info("wrote %s, %.1f MB", args.out, args.out.stat().st_size / 1e6)


def write(data: dict, path: Path) -> None:
    """Write the page that shows `data` (see `lib.eval.report_data`) as one HTML file.

    Names from datasets are only data: the page sets them as text, and its policy runs no script but its own.
    """
    script = "".join((FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = json_text(path, data, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "TITLE": html.escape(data["title"]),
        "POLICY": f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: file: *",
        "STYLE": (FOLDER / "report.css").read_text(encoding="utf-8"),
        "DATA": text,
        "SCRIPT": script,
    }
    page = (FOLDER / "report.html").read_text(encoding="utf-8")
    page = re.sub(r"\{\{([A-Z]+)\}\}", lambda match: parts[match.group(1)], page)
    with replacing(path, pipes=True) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")  # file names need not be UTF-8


if __name__ == "__main__":
    main()
