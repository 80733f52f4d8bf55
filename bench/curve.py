"""Accuracy vs. time per frame: seconds per frame of R-FCN, Deep Feature Flow and FGFA, beside their mAP on MiniVID.

    python -m bench.curve output/minivid/results
    python -m bench.curve output/minivid/results --times docs/curve.json    # new tables and picture, old times

The results are those of experiments/minivid/reproduce.py. The times are those of bench.full_frame, on this machine, of
the small networks that the results come from and of networks of published size. Groups of detectors take turns with
R-FCN: a time is the median ratio to R-FCN's in the same turns, times the median of all of R-FCN's. Writes curve.json
(which lib.cli.autotune reads), images/curve.png and the table in performance.md to docs/, and R-FCN and the rows on the
frontier to README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import NamedTuple

from bench.full_frame import measured
from bench.turns import say
from lib.errors import InputError, command
from lib.eval.bootstrap import Interval, bootstrap
from lib.eval.results import load_result
from lib.eval.tables import Table, percent, put_between, spread
from lib.files import replacing, write_json
from lib.machine import cores
from lib.variants import KEYED, LIVE


class Series(NamedTuple):
    """Points that the picture connects.

    letter: before the numbers of the names that the points are labelled with, which are `above` the line or below.
    title_at: the point that the title stands at. place: its distance from there in points, and its alignment. colour:
    of Okabe and Ito, which people with colour blindness can tell apart.
    """

    title: str
    names: list[str]
    letter: str
    colour: str
    marker: str
    above: bool
    title_at: str
    place: tuple[int, int, str]


REFERENCE = "rfcn"
DFF, FGFA = [f"dff_i{i}" for i in (1, 2, 5, 10, 20)], [f"fgfa_k{reach}" for reach in (1, 2, 5, 9)]
CHAINED = ["fgfa_k9_h3", *KEYED[3]]
SERIES = (
    Series("R-FCN", [REFERENCE], "", "#000000", "s", False, REFERENCE, (8, 1, "left")),
    Series("DFF, key frames i apart", DFF, "i", "#D55E00", "v", False, "dff_i10", (12, 0, "left")),
    Series("FGFA by K", FGFA, "k", "#0072B2", "o", False, "fgfa_k1", (12, 0, "left")),
    Series("K = 9, key frames d apart", KEYED[0], "d", "#CC79A7", "D", False, "fgfa_k9_d5", (-10, 0, "right")),
    Series("the same with chained flow", CHAINED, "d", "#009E73", "^", True, "fgfa_k9_h3_d2", (-16, 4, "right")),
)
RANGES = ("all", "slow", "medium", "fast")
SIZES = {"full": 562, "small": 0}  # short sides for bench.full_frame
MORE_TURNS = {"full": 1, "small": 5}
TITLES = {"full": "ResNet-101, 562 x 1000", "small": "small network, 192 x 256"}
MARKERS = ("<!-- curve: made by bench/curve.py -->", "<!-- end of curve -->")


def time_all(names: list[str], kind: str, short: int, runs: int, together: int) -> dict[str, dict]:
    """Seconds per frame and speed relative to R-FCN's, by name. together: detectors that take turns with R-FCN."""
    ratios, base = {REFERENCE: 1.0}, []
    others = [name for name in names if name != REFERENCE]
    for start in range(0, max(1, len(others)), together):
        group = [REFERENCE, *others[start : start + together]]
        rows = {row["name"]: row["frames"] for row in measured([f"{kind}_{name}" for name in group], 9, short, runs)}
        if len(rows) < len(group):
            raise InputError(f"{kind} does not run here; choose another one with --kind")
        own = rows.pop(f"{kind}_{REFERENCE}")
        base += own
        for name, times in zip(group[1:], rows.values()):
            ratios[name] = statistics.median(one / other for one, other in zip(times, own))
            say(f"{name}: {ratios[name]:.3f} times R-FCN's time")
    second = statistics.median(base)
    return {name: {"seconds": ratio * second, "speed": 1 / ratio} for name, ratio in ratios.items() if name in names}


def frontier(points: dict[str, tuple[float, float]]) -> list[str]:
    """Names of the points (seconds, accuracy) for which no faster one is as accurate, from fast to slow."""
    found: list[str] = []
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if not found or points[name][1] > points[found[-1]][1]:
            found.append(name)
    return found


def table(times: dict[str, dict], maps: dict[str, dict[str, Interval]], best: dict[str, list[str]]) -> Table:
    columns = ["", *(f"mAP, {motion}" for motion in RANGES)]
    for size in times:
        columns += [f"{size} size: s/frame", "speed-up over R-FCN"]
    rows = []
    for name, accuracy in maps.items():
        cells = [spread(accuracy["all"]), *(percent(accuracy[motion].value) for motion in RANGES[1:])]
        for size, found in times.items():
            bold = "**" if name in best[size] else ""
            cells += [f"{bold}{found[name]['seconds']:#.3g}{bold}", f"{found[name]['speed']:.2f}"]
        rows.append([name, *cells])
    title = (
        "mAP of the small network on MiniVID, % [95 % interval over videos], and seconds per frame (bold: "
        "nothing faster is as accurate)"
    )
    return Table(title, columns, rows)


def draw(path: Path, times: dict[str, dict], accuracy: dict[str, float], best: dict[str, list[str]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, panels = pyplot.subplots(
        1, len(times), figsize=(5.5 * len(times), 4.8), sharey=True, squeeze=False, layout="constrained"
    )
    for panel, (size, found) in zip(panels[0], times.items()):
        points = {name: (found[name]["seconds"], accuracy[name]) for name in accuracy}
        panel.plot(*zip(*(points[name] for name in best[size])), color="0.85", linewidth=9, zorder=0)
        for series in SERIES:
            shown = [name for name in series.names if name in points]
            if not shown:
                continue
            panel.plot(*zip(*(points[name] for name in shown)), color=series.colour, marker=series.marker, markersize=5)
            style = {"color": series.colour, "va": "center", "textcoords": "offset points"}
            below = (0, 9 if series.above else -9)
            for name in shown:
                number = _number(name, series.letter)
                panel.annotate(number, points[name], xytext=below, ha="center", fontsize=8, **style)
            *offset, side = series.place
            start = points.get(series.title_at, points[shown[0]])
            panel.annotate(series.title, start, xytext=offset, ha=side, fontsize=9, **style)
        panel.set(xscale="log", xlabel="seconds per frame", title=TITLES[size])
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.margins(x=0.1, y=0.1)
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("mAP on MiniVID, %")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    pyplot.close(figure)


def _number(name: str, letter: str) -> str:
    """The number after a letter of a variant's name."""
    return next((part[1:] for part in name.split("_")[1:] if part[0] == letter), "")


@command
def main(argv: list[str] | None = None) -> None:
    known = [name for series in SERIES for name in series.names]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("results", type=Path, help="results folder of experiments/minivid/reproduce.py")
    add("--times", type=Path, help="a curve.json with times, instead of measuring")
    add("--only", nargs="+", choices=known, metavar="NAME", default=known, help="not all variants (for trials)")
    add("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="networks to time (default: both)")
    add("--kind", default="float32", help="contestant of bench.full_frame to time (default: %(default)s)")
    add("--runs", type=int, default=5, help="turns; five times as many of small networks (default: %(default)s)")
    add("--together", type=int, default=4, help="detectors in memory beside R-FCN (default: %(default)s)")
    add("--docs", type=Path, default=Path("docs"), help="folder to write to (default: %(default)s)")
    add("--readme", type=Path, default=Path("README.md"), help="file whose table is updated (default: %(default)s)")
    add("--draws", type=int, default=1000, help="bootstrap resamplings for each interval (default: %(default)s)")
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", str(cores()))
    names = [name for name in known if name in args.only]
    results = {name: load_result(args.results / name / "results.json") for name in names}
    maps = {name: bootstrap(result, args.draws) for name, result in results.items()}
    if args.times:
        times = _read(args.times, names)
    else:
        times = {
            size: time_all(names, args.kind, SIZES[size], args.runs * MORE_TURNS[size], args.together)
            for size in args.sizes
        }
    accuracy = {name: 100 * found["all"].value for name, found in maps.items()}
    best = {
        size: frontier({name: (found[name]["seconds"], accuracy[name]) for name in names})
        for size, found in times.items()
    }
    live = {name: accuracy[name] for name in names if name.startswith((REFERENCE, "dff_"))}
    for name in (name for name in LIVE if name in names):
        live[name] = 100 * float(load_result(args.results / LIVE[name] / "results.json").mean[0, 0])
    content = {"mAP, %": accuracy, "mAP live, %": live, "frontier": best, "times": times}
    write_json(args.docs / "curve.json", content, pipes=False)
    picture = args.docs / "images/curve.png"
    draw(picture, times, accuracy, best)
    short = {name: found for name, found in maps.items() if name in (REFERENCE, *best[next(iter(best))])}
    for page, shown in ((args.docs / "performance.md", maps), (args.readme, short)):
        image = os.path.relpath(picture, page.parent)
        put_between(page, MARKERS, f"{table(times, shown, best).markdown()}\n![Accuracy vs. time per frame]({image})\n")
    say(table(times, maps, best).text())


def _read(path: Path, names: list[str]) -> dict[str, dict]:
    try:
        times = json.loads(path.read_text())["times"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no times of bench.curve ({error!r}); measure them without --times") from error
    missing = [name for name in names if any(name not in found for found in times.values())]
    if missing:
        raise InputError(f"{path}: no times of {', '.join(missing)}; measure them without --times")
    return times


if __name__ == "__main__":
    main()
