"""Times FGFA per frame at full size: ResNet-101, 562x1000, a window of 19 frames.

    python -m bench.full_frame                              # compares all contestants on the CPU, which take turns
    python -m bench.full_frame --sweep docs/images/cost.png # the cost by K, by image size and by threads
    python -m bench.full_frame --alone float32 --k 1 --short 150 --runs 1000    # memory over a long clip
    python -m bench.full_frame --backend torch --device cuda --json gpu.json    # PyTorch on a GPU, see bench.device

The contestants: `published`, the published graph of MXNet's own operators; `float32`, `int8` and `bfloat16`, the
detector with each TEST.PRECISION in MXNet; `torch-float32` and `torch-bfloat16`, the same in PyTorch. Weights are
synthetic, which does not affect times. The time per frame is measured in the steady state, from one result to the next:
one new frame passes through the feature network, and one window through flow, aggregation and heads. Each contestant
has its own process, whose peak memory is reported. Those that cannot run here are skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path

import numpy as np

from bench.contestants import CONTESTANTS, contestant, engine
from bench.turns import (
    Contestant,
    device_of,
    device_options,
    head,
    in_turns,
    installed,
    memory,
    row,
    say,
    seconds,
    serve,
)
from lib.errors import InputError, command
from lib.files import replacing
from lib.machine import cores

REACHES, SHORT_SIDES = (0, 1, 2, 5, 9), (150, 300, 450, 562)


def alone(name: str, reach: int, short: int, runs: int) -> dict:
    """Runs one contestant: mean seconds per frame and part, peak memory, and its growth after ten frames.

    runs: 0 for one frame for each line of the input.
    """
    try:
        frame, parts = contestant(name, reach, short)
    except InputError as error:
        return {"left_out": str(error)}
    frame()
    for times in parts.values():
        times.clear()
    taken = [seconds(frame) for _ in range(min(runs, 10))]
    before = memory("VmRSS")
    if not runs:
        say("ready")
        taken = serve(frame)
    taken += [seconds(frame) for _ in range(runs - len(taken))]
    result = {"frame": statistics.mean(taken), "grown_megabytes": (memory("VmRSS") - before) / 1e6}
    result.update({part: sum(times) / len(taken) for part, times in parts.items()})
    result["gigabytes"] = memory("VmHWM") / 1e9
    return result


def process(name: str, reach: int, short: int, runs: int, threads: int) -> Contestant:
    sizes = ["--k", str(reach), "--short", str(short), "--runs", str(runs)]
    return Contestant("bench.full_frame", "--alone", name, *sizes, threads=threads)


def compare(names: list[str], reach: int, short: int, runs: int) -> list[dict]:
    started = {}
    try:
        for name in installed(names, engine):
            started[name] = process(name, reach, short, 0, int(os.environ["OMP_NUM_THREADS"]))
            answer = started[name].line()
            if answer != "ready":
                say(f"{name}: left out ({json.loads(answer)['left_out']})")
                started.pop(name).stop()
        return _table(in_turns(started, runs), started)
    finally:
        for contestant_ in started.values():
            contestant_.stop()


def _table(taken: dict[str, list[float]], started: dict[str, Contestant]) -> list[dict]:
    rows = []
    medians = {name: statistics.median(times) for name, times in taken.items()}
    base = medians.get("published", next(iter(medians.values())))
    head("", "seconds per frame", "speed-up", "features", "flow", "other", "peak memory")
    for name, frame in medians.items():
        own = started[name].result()
        rows.append({"name": name, **own, "frame": frame, "ratio": base / frame, "frames": taken[name]})
        parts = ["", "", ""]
        if "flow" in own:
            rest = own["frame"] - own["features"] - own["flow"]
            parts = [f"{own['features']:.2f} s", f"{own['flow']:.2f} s", f"{rest:.2f} s"]
        row(name, f"{frame:.2f}", f"{base / frame:.2f}", *parts, f"{own['gigabytes']:.2f} GB")
    for kind in ("float32", "bfloat16"):
        if kind in medians and f"torch-{kind}" in medians:
            say(f"{kind}: PyTorch takes {medians[f'torch-{kind}'] / medians[kind]:.2f} times as long as MXNet")
    return rows


def sweep(plot: Path, runs: int) -> list[dict]:
    """Seconds per frame and memory of the float32 detector, varying one size at a time."""
    full = {"reach": 9, "short": 562, "threads": cores()}
    changes = [{"reach": reach} for reach in REACHES[:-1]] + [{"short": short} for short in SHORT_SIDES[:-1]]
    changes += [{"threads": threads} for threads in range(1, cores())] + [{}]
    head("K", "image", "threads", "seconds per frame", "features", "flow", "other", "peak memory")
    rows = []
    for change in changes:
        case = {**full, **change}
        own = process("float32", case["reach"], case["short"], runs, case["threads"]).result()
        rows.append({**case, **own})
        rest = own["frame"] - own["features"] - own["flow"]
        image = f"{case['short']} x {round(case['short'] * 1000 / 562)}"
        parts = [f"{value:.2f}" for value in (own["frame"], own["features"], own["flow"], rest)]
        row(str(case["reach"]), image, str(case["threads"]), *parts, f"{own['gigabytes']:.2f} GB")
    draw(rows, full, plot)
    return rows


def draw(rows: list[dict], full: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = {"reach": "K", "short": "short side, pixels", "threads": "threads"}
    figure, panels = pyplot.subplots(1, 3, figsize=(9, 2.8), sharey=True, layout="constrained")
    for panel, (key, label) in zip(panels, labels.items()):
        others = {name: value for name, value in full.items() if name != key}
        line = sorted((row for row in rows if all(row[n] == v for n, v in others.items())), key=lambda row: row[key])
        x = [row[key] for row in line]
        bottom = np.zeros(len(line))
        for part in ("features", "flow"):
            top = bottom + [row[part] for row in line]
            panel.fill_between(x, bottom, top, alpha=0.5, label=part)
            bottom = top
        panel.fill_between(x, bottom, [row["frame"] for row in line], alpha=0.5, label="other")
        panel.plot(x, [row["frame"] for row in line], "k.-")
        panel.set_xlabel(label)
        panel.set_xticks(x)
    panels[0].set_ylabel("seconds per frame")
    panels[0].legend(loc="upper left", frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    pyplot.close(figure)


@command
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=CONTESTANTS, default=CONTESTANTS, help="contestants (default: all)"
    )
    parser.add_argument("--k", type=int, help="frames on either side (default: 9; with --device all of 0 1 2 5 9)")
    parser.add_argument("--short", type=int, help="short side in pixels (default: 562; with --device 600)")
    parser.add_argument("--runs", type=int, default=5, help="frames timed, the median counts (default: %(default)s)")
    parser.add_argument("--alone", choices=CONTESTANTS, help="one contestant, one line of JSON")
    parser.add_argument("--sweep", type=Path, metavar="PNG", help="vary window, size and threads, and plot it here")
    device_options(parser)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", str(cores()))
    reach, short = 9 if args.k is None else args.k, args.short or 562
    figures: object
    if device_of(args):
        from bench import device

        reaches = REACHES if args.k is None else (args.k,)
        figures = device.measure(args.device, reaches, args.short or 600, args.runs)
    elif args.alone:
        say(json.dumps(alone(args.alone, reach, short, args.runs)))
        return
    elif args.sweep:
        figures = sweep(args.sweep, args.runs)
    else:
        figures = compare(list(args.only), reach, short, args.runs)
    if args.json:
        with replacing(args.json) as path:
            path.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
