"""Compare two results on the same videos.

    python -m lib.eval.compare A.json B.json

Prints the differences B - A of the mean and of each class, with 95 % intervals from a paired bootstrap, which uses the
same samples of the videos for both. With --errors, also which kinds of errors changed (see lib.eval.errors).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lib.argument import Parser, whole
from lib.errors import command
from lib.eval.bootstrap import paired_bootstrap
from lib.eval.errors import add_locations, difference_of_kinds
from lib.eval.results import load_result, outcomes_path
from lib.eval.stored import load_run
from lib.eval.tables import Report, difference_table
from lib.files import write_json
from lib.output_paths import check_distinct, check_output


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line of `python -m lib.eval.compare`."""
    parser = Parser(
        prog="python -m lib.eval.compare",
        description="Print the differences B - A of two results of lib.eval.vid_map, with 95 % intervals.",
    )
    add = parser.add_argument
    add("first", type=Path, metavar="A.json", help="result file, with its .outcomes.npz in the same folder")
    add("second", type=Path, metavar="B.json", help="result file on the same image set")
    add("--draws", type=int, default=1000, help="number of bootstrap samples (default: 1000)")
    add("--seed", type=whole, default=0, help="random seed (default: 0)")
    add("--area", help="area range to compare in (default: the first, `all`)")
    add("--errors", action="store_true", help="also print the kinds of errors of both; needs their detections")
    add_locations(parser)
    add("--markdown", action="store_true", help="print Markdown instead of plain text")
    add("--json", type=check_output, help="also write the differences to this JSON file")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    check_distinct([*map(outcomes_path, (args.first, args.second)), args.first, args.second], [args.json])
    first, second = load_result(args.first), load_result(args.second)
    difference = paired_bootstrap(first, second, args.draws, args.seed, args.area)
    if args.json:
        write_json(args.json, asdict(difference))
    tables = [difference_table(difference, first)]
    if args.errors:
        runs = [load_run(path, annotations=args.annotations, cache=args.cache) for path in (args.first, args.second)]
        tables.append(difference_of_kinds(*runs))
    report = Report(tables)
    sys.stdout.write(f"A: {args.first}\nB: {args.second}\n\n{report.markdown() if args.markdown else report.text()}")


if __name__ == "__main__":
    main()
