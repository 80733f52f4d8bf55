"""Compares two results on the same videos.

    python -m lib.eval.compare A.json B.json

Per-class differences B - A with a paired bootstrap: both methods are drawn on the same videos.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lib.errors import command
from lib.eval.bootstrap import Difference, paired_bootstrap
from lib.eval.results import load_result
from lib.eval.tables import difference_table
from lib.files import replacing


def difference_dict(difference: Difference) -> dict:
    """For JSON: {"mean": {range: {value, low, high}}, "classes": {range: {class: {...} or null}}}."""
    return {
        "mean": {name: asdict(interval) for name, interval in difference.mean.items()},
        "classes": {
            name: {cls: interval and asdict(interval) for cls, interval in classes.items()}
            for name, classes in difference.classes.items()
        },
    }


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line of `python -m lib.eval.compare`."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.eval.compare",
        description="Differences B - A of two results of lib.eval.vid_map on one image set, with 95 % intervals.",
    )
    parser.add_argument("first", type=Path, metavar="A.json", help="a result (its .outcomes.npz beside it)")
    parser.add_argument("second", type=Path, metavar="B.json", help="the other result")
    parser.add_argument("--draws", type=int, default=1000, help="draws of the videos (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--area", help="name of the area range to compare in (default: the first, all)")
    parser.add_argument("--markdown", action="store_true", help="print Markdown instead of plain text")
    parser.add_argument("--json", type=Path, help="also write the differences to this file")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; see `parse_args`."""
    args = parse_args(argv)
    first, second = load_result(args.first), load_result(args.second)
    difference = paired_bootstrap(first, second, args.draws, args.seed, args.area)
    if args.json:
        with replacing(args.json) as temporary, open(temporary, "w", encoding="utf-8") as file:
            json.dump(difference_dict(difference), file, indent=1)
    table = difference_table(difference, first)
    sys.stdout.write(f"A: {args.first}\nB: {args.second}\n\n{table.markdown() if args.markdown else table.text()}")


if __name__ == "__main__":
    main()
