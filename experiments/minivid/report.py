"""Generates the MiniVID tables and plots from results: docs/minivid.json, docs/minivid_results.md, docs/images/, and
the table between the markers in README.md. With --backend torch, docs/minivid_torch.json and so on, and no README.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import matplotlib

from lib.argument import Parser
from lib.errors import InputError, command, counted, start_logging
from lib.eval.bootstrap import Interval, bootstrap, paired_bootstrap
from lib.eval.evaluation import Evaluation
from lib.eval.results import load_result
from lib.eval.tables import Table, motion_area_table, put_between, side_by_side, spread
from lib.files import replacing, write_json
from lib.variants import CHAINED, INTERVALS, KEYED, LIVE, SHORTER, WINDOWS

log = logging.getLogger(__name__)

METHODS = {"rfcn": "rfcn", "dff": "dff_i10", "fgfa": "fgfa_k9", "fgfa_seqnms": "fgfa_k9_seqnms"}
TITLES = {"rfcn": "R-FCN", "dff": "DFF, every 10th frame", "fgfa": "FGFA", "fgfa_seqnms": "FGFA + Seq-NMS"}
RANGES = ("all", "slow", "medium", "fast")
# (what it shows, result folder of A, of B): B - A, paired over videos
CLAIMS = (
    ("FGFA - R-FCN", "rfcn", "fgfa_k9"),
    ("Seq-NMS on FGFA", "fgfa_k9", "fgfa_k9_seqnms"),
    ("flow: FGFA - trained without warp, K = 9", "nowarp_k9", "fgfa_k9"),
    ("weights: cosine - plain mean, K = 9", "mean_k9", "fgfa_k9"),
    ("DFF, a key frame every 10 frames - R-FCN", "rfcn", "dff_i10"),
    ("FGFA, h = 3, a key frame every 3 frames - R-FCN", "rfcn", "fgfa_k9_h3_d3"),
    ("FGFA, h = 3, a key frame every 5 frames - R-FCN", "rfcn", "fgfa_k9_h3_d5"),
    ("clip ends: shorter windows - repeated frames, K = 9, h = 3", "fgfa_k9_h3", SHORTER),
)
BFLOAT16_CLAIMS = (
    ("R-FCN in bfloat16 - in float32", "rfcn", "rfcn_bfloat16"),
    ("FGFA (h = 3) in bfloat16 - in float32", "fgfa_k9_h3", "fgfa_bfloat16"),
)
MXNET_CLAIMS = (
    ("R-FCN in int8 - in float32", "rfcn", "rfcn_int8"),
    ("FGFA (h = 3) in int8 - in float32", "fgfa_k9_h3", "fgfa_int8"),
    ("DFF in int8 - in float32", "dff_i10", "dff_int8"),
    *BFLOAT16_CLAIMS,
    ("DFF in bfloat16 - in float32", "dff_i10", "dff_bfloat16"),
)
TORCH_CLAIMS = (
    *BFLOAT16_CLAIMS,
    ("R-FCN trained in bfloat16 - in float32", "rfcn", "rfcn_trained_bfloat16"),
    ("FGFA (h = 3) trained in bfloat16 - in float32", "fgfa_k9_h3", "fgfa_trained_bfloat16"),
)
VARIANTS = {"fgfa": "FGFA", "nowarp": "trained without warp"}
FASTER = {  # variants of FGFA, and the one that each is compared with
    **{name: f"fgfa_k{reach}" for reach, names in CHAINED.items() for name in names},
    **{name: "fgfa_k9" for names in KEYED.values() for name in names},
    **{live: name for name, live in LIVE.items()},
}
MARKERS = ("<!-- minivid table: made by experiments/minivid/report.py -->", "<!-- end of minivid table -->")


@command
def main(argv: list[str] | None = None) -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("results", type=Path, help="results folder of experiments/minivid/reproduce.py")
    parser.add_argument(
        "--docs", type=Path, default=Path("docs"), help="folder for tables and plots (default: %(default)s)"
    )
    parser.add_argument(
        "--readme", type=Path, default=Path("README.md"), help="file whose table is updated (default: %(default)s)"
    )
    parser.add_argument(
        "--draws", type=int, default=1000, help="bootstrap resamplings for each interval (default: %(default)s)"
    )
    parser.add_argument(
        "--backend",
        choices=("mxnet", "torch"),
        default="mxnet",
        help="what the results come from (default: %(default)s)",
    )
    parser.add_argument("--no-bfloat16", action="store_true", help="with --backend torch: leave bfloat16 out")
    args = parser.parse_args(argv)
    start_logging()
    reference = args.backend == "mxnet"
    compared = [*CLAIMS, *(MXNET_CLAIMS if reference else () if args.no_bfloat16 else TORCH_CLAIMS)]
    suffix = "" if reference else f"_{args.backend}"
    names = {
        *METHODS.values(),
        "rfcn_seqnms",
        *(name for _, *pair in compared for name in pair),
        *(f"{variant}_k{reach}" for variant in VARIANTS for reach in WINDOWS),
        *(f"dff_i{interval}" for interval in INTERVALS),
        *(name for pair in FASTER.items() for name in pair),
    }
    results = {name: load_result(args.results / name / "results.json") for name in sorted(names)}
    intervals = {name: bootstrap(result, args.draws) for name, result in results.items()}
    claims = [(what, paired_bootstrap(results[a], results[b], args.draws).mean) for what, a, b in compared]
    faster = {
        name: paired_bootstrap(results[reference], results[name], args.draws).mean for name, reference in FASTER.items()
    }
    flow = {when: _flow_errors(args.results / f"flow_{when}.json") for when in ("before", "after", "sharp")}

    main_table = side_by_side({TITLES[key]: (results[name], intervals[name]) for key, name in METHODS.items()}, RANGES)
    tables = [main_table, _claims_table(claims), _windows_table(results)]
    tables += [_faster_table(results, faster), _intervals_table(results, intervals), _flow_table(flow)]
    tables += [_titled(motion_area_table(results[name]), TITLES[key]) for key, name in METHODS.items()]
    _write_json(args.docs / f"minivid{suffix}.json", results, intervals, claims, faster, flow)
    title, made_by = "MiniVID results", "make reproduce"
    if not reference:
        title, made_by = "MiniVID results with PyTorch", f"make reproduce BACKEND={args.backend}"
    with replacing(args.docs / f"minivid_results{suffix}.md") as path:
        body = "\n".join(table.markdown() for table in tables)
        path.write_text(
            f"# {title}\n\nGenerated by `{made_by}`.\n\n{body}\n![mAP by window](images/minivid_window{suffix}.png)\n"
        )
    _plot_windows(results, args.docs / f"images/minivid_window{suffix}.png")
    if reference:
        put_between(args.readme, MARKERS, main_table.markdown())
    log.info("\n".join(table.text() for table in tables))


def _titled(table: Table, title: str) -> Table:
    return Table(f"{title}: {table.title}", table.columns, table.rows)


def _claims_table(claims: list[tuple[str, dict[str, Interval]]]) -> Table:
    rows = [[what, *(spread(mean[name], signed=True) for name in RANGES)] for what, mean in claims]
    return Table("Differences, points of mAP [95 % interval, paired over videos; * excludes 0]", ["", *RANGES], rows)


def _mean(result: Evaluation, name: str) -> float:
    names = [entry.name for entry in result.motion_ranges]
    return 100 * float(result.mean[names.index(name), 0])


def _windows_table(results: dict[str, Evaluation]) -> Table:
    rows = [
        [f"{title}, {name}", *(f"{_mean(results[f'{variant}_k{reach}'], name):.1f}" for reach in WINDOWS)]
        for variant, title in VARIANTS.items()
        for name in ("all", "fast")
    ]
    return Table("mAP (%) by window, 2K + 1 frames", ["", *(f"K = {reach}" for reach in WINDOWS)], rows)


def _faster_table(results: dict[str, Evaluation], differences: dict[str, dict[str, Interval]]) -> Table:
    rows = []
    for reference in dict.fromkeys(FASTER.values()):
        rows.append([reference, *(f"{_mean(results[reference], motion):.1f}" for motion in RANGES), "", ""])
        for name in (name for name, other in FASTER.items() if other == reference):
            gains = [spread(differences[name][motion], signed=True) for motion in ("all", "fast")]
            rows.append([name, *(f"{_mean(results[name], motion):.1f}" for motion in RANGES), *gains])
    columns = ["", *RANGES, "all - first row", "fast - first row"]
    title = "FGFA with chained flow (h, flow hop) and key frames (d apart), mAP %; differences with paired intervals"
    return Table(title, columns, rows)


def _intervals_table(results: dict[str, Evaluation], spreads: dict[str, dict[str, Interval]]) -> Table:
    columns = {f"{interval}": (results[f"dff_i{interval}"], spreads[f"dff_i{interval}"]) for interval in INTERVALS}
    table = side_by_side(columns, RANGES)
    return Table("DFF by distance of key frames, mAP % [95 % interval over videos]", table.columns, table.rows)


def _flow_table(flow: dict[str, dict]) -> Table:
    rows = [
        [f"{counted(int(distance), 'frame')} apart", f"{flow['before'][distance]['zero']:.2f}"]
        + [f"{flow[when][distance]['epe']:.2f} ({100 * flow[when][distance]['ratio']:.0f} %)" for when in flow]
        for distance in flow["before"]
    ]
    columns = ["", "zero flow", "before end-to-end training", "after", "after, on sharp frames"]
    return Table("End-point error on moving objects of val, feature cells (share of zero flow's)", columns, rows)


def _flow_errors(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no flow errors ({error}); run experiments/minivid/reproduce.py") from error


def _write_json(path: Path, results: dict, intervals: dict, claims: list, faster: dict, flow: dict) -> None:
    content = {
        "methods": {
            key: {
                motion: {"map": entry.value, "low": entry.low, "high": entry.high}
                for motion, entry in ((motion, intervals[name][motion]) for motion in RANGES)
            }
            for key, name in METHODS.items()
        },
        "motion_area": {
            key: {
                motion.name: {area.name: float(value) for area, value in zip(results[name].area_ranges, row)}
                for motion, row in zip(results[name].motion_ranges, results[name].mean)
            }
            for key, name in METHODS.items()
        },
        "differences": {what: _ranges(mean) for what, mean in claims},
        "faster": {name: _ranges(mean) for name, mean in faster.items()},
        "windows": {
            name: {motion: _mean(result, motion) / 100 for motion in RANGES}
            for name, result in results.items()
            if "_k" in name
        },
        "key_frames": {
            interval: {motion: _mean(results[f"dff_i{interval}"], motion) / 100 for motion in RANGES}
            for interval in INTERVALS
        },
        "flow": flow,
    }
    write_json(path, content, pipes=False)


def _ranges(mean: dict[str, Interval]) -> dict[str, dict[str, float]]:
    return {motion: {bound: getattr(mean[motion], bound) for bound in ("value", "low", "high")} for motion in RANGES}


def _plot_windows(results: dict[str, Evaluation], path: Path) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), constrained_layout=True)
    for axis, name in zip(axes, ("all", "fast")):
        for variant, title in VARIANTS.items():
            axis.plot(WINDOWS, [_mean(results[f"{variant}_k{reach}"], name) for reach in WINDOWS], "o-", label=title)
        axis.axhline(_mean(results["rfcn"], name), color="grey", linestyle="--", label="R-FCN")
        axis.set(xlabel="K (window of 2K + 1 frames)", ylabel="mAP, %", title=f"{name} motion", xticks=WINDOWS)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
