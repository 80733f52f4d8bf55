"""Compares FGFA with chained flow, key frames and shorter windows to FGFA as published, on MiniVID val.

Runs `fgfa_rfcn_test.py` for each variant, skips those whose results are up to date, and prints a table of differences
with paired 95 % intervals, which is also written to RESULTS/fast_fgfa.md.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from pathlib import Path

from lib.cli.options import start_logging
from lib.config import load_config
from lib.errors import InputError, command
from lib.eval.bootstrap import paired_bootstrap
from lib.eval.evaluation import Evaluation
from lib.eval.results import load_result
from lib.eval.tables import Table, spread
from lib.files import replacing
from lib.inference.evaluate import already_done
from lib.methods import METHODS

log = logging.getLogger(__name__)

METHOD = METHODS["fgfa_rfcn"]
RANGES = ("all", "slow", "medium", "fast")
PUBLISHED = "k9"
REACHES, HOPS, DURATIONS = (9, 5, 14), (1, 2, 3, 5), (2, 3, 5, 10)


def variants() -> dict[str, dict[str, object]]:
    """Keys of the section TEST by name of the result, and first FGFA as published."""
    found: dict[str, dict[str, object]] = {}

    def add(reach: int = 9, hop: int = 0, duration: int = 1, ends: str = "repeat") -> None:
        name = f"k{reach}" + (f"_h{hop}" if hop else "") + (f"_d{duration}" if duration > 1 else "")
        settings = {"KEY_FRAME_INTERVAL": reach, "FLOW_HOP": hop, "KEY_FRAME_DURATION": duration, "CLIP_ENDS": ends}
        found[name + ("_short" if ends == "shorten" else "")] = settings

    for reach in REACHES:
        for hop in (0, *HOPS):
            add(reach, hop)
    for hop in (0, 3):
        add(hop=hop, ends="shorten")
        for duration in DURATIONS:
            add(hop=hop, duration=duration)
    add(hop=3, duration=3, ends="shorten")
    return found


def reference(name: str) -> str:
    """The result that a variant is compared with: FGFA as published with the same window."""
    return name.partition("_")[0]


def report(results: dict[str, Evaluation], draws: int) -> Table:
    rows = []
    for name, result in results.items():
        values = {entry.name: 100 * float(result.mean[i, 0]) for i, entry in enumerate(result.motion_ranges)}
        row = [name, *(f"{values[motion]:.1f}" for motion in RANGES)]
        if name != reference(name) and reference(name) in results:
            difference = paired_bootstrap(results[reference(name)], result, draws).mean
            row += [spread(difference[motion], signed=True) for motion in ("all", "fast")]
        rows.append([*row, *[""] * (len(RANGES) + 3 - len(row))])
    columns = ["", *RANGES, "all - published", "fast - published"]
    return Table("FGFA, mAP (%), and the difference to the same window as published [95 % interval]", columns, rows)


@command
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--cfg", default=METHOD.bundled.cfg, help="YAML file (default: %(default)s)")
    add("--weights", type=Path, default=Path(METHOD.bundled.weights), help="weights (default: %(default)s)")
    add("--results", type=Path, default=Path("output/minivid/fast_fgfa"), help="output folder (default: %(default)s)")
    add("--only", nargs="+", choices=variants(), metavar="NAME", help=f"only these: {' '.join(variants())}")
    add("--draws", type=int, default=1000, help="bootstrap resamplings for each interval (default: %(default)s)")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="further settings, for all variants")
    args = parser.parse_args(argv)
    start_logging()
    results = {}
    for name, keys in variants().items():
        if args.only and name not in args.only:
            continue
        folder = args.results / name
        settings = [*args.set, *(f"TEST.{key}={value}" for key, value in keys.items())]
        if not already_done(folder, load_config(args.cfg, settings, METHOD.schema), args.weights):
            test = ["experiments/fgfa_rfcn/fgfa_rfcn_test.py", "--cfg", args.cfg, "--weights", str(args.weights)]
            arguments = [*test, "--output", str(folder), "--set", *settings]
            log.info("python %s", " ".join(arguments))
            status = subprocess.run([sys.executable, *arguments], check=False).returncode
            if status:
                raise InputError(f"{name} ended with status {status}; run the same command again to continue")
        results[name] = load_result(folder / "results.json")
    table = report(results, args.draws)
    with replacing(args.results / "fast_fgfa.md") as path:
        path.write_text(table.markdown())
    log.info(table.text())


if __name__ == "__main__":
    main()
