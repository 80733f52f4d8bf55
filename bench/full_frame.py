"""Times detectors per frame, by default FGFA at full size: ResNet-101, 562x1000, a window of 19 frames.

    python -m bench.full_frame                              # compares all contestants on the CPU, which take turns
    python -m bench.full_frame --only float32_rfcn float32_fgfa_k9_h3_d3 int8_dff_i10    # other variants
    python -m bench.full_frame --sweep docs/images/cost.png # the cost by K, by image size and by threads
    python -m bench.full_frame --alone float32 --k 1 --short 150 --runs 1000    # memory over a long clip
    python -m bench.full_frame --backend torch --device cuda --json gpu.json    # PyTorch on a GPU, see bench.device

The contestants: `published`, the published graph of MXNet's own operators; `float32`, `int8` and `bfloat16`, the
detector with each TEST.PRECISION in MXNet; `torch-float32` and `torch-bfloat16`, the same in PyTorch. A variant after
the name (lib/variants.py) times R-FCN, Deep Feature Flow with key frames 10 apart (`dff_i10`) or FGFA with chained flow
(`h`) and key frames (`d`). Weights are synthetic, which does not affect times. The time per frame is measured in the
steady state, from one result to the next: one new frame passes through the feature network, and one window through
flow, aggregation and heads. With key frames, it is the mean from one key frame to the next. Each contestant has its own
process, whose peak memory is reported. Those that cannot run here are skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path

import numpy as np

from bench.contestants import CONTESTANTS, case, contestant, engine
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
from lib.files import replacing, write_json
from lib.machine import cores

REACHES, SHORT_SIDES = (0, 1, 2, 5, 9), (150, 300, 450, 562)


def alone(name: str, reach: int, short: int, runs: int) -> dict:
    """Runs one contestant: mean seconds per frame and part, peak memory, and its growth after ten frames.

    short: as in `case`. runs: turns; 0 for one for each line of the input.
    """
    try:
        running = contestant(name, reach, short)
    except InputError as error:
        return {"left_out": str(error)}
    for _ in range(running.lead):
        running.turn()
    for times in running.parts.values():
        times.clear()
    taken = [seconds(running.turn) for _ in range(min(runs, 10))]
    before = memory("VmRSS")
    if not runs:
        say("ready")
        taken = serve(running.turn)
    taken += [seconds(running.turn) for _ in range(runs - len(taken))]
    frames = len(taken) * running.frames
    result = {"frames_a_turn": running.frames, "frame": sum(taken) / frames}
    result["grown_megabytes"] = (memory("VmRSS") - before) / 1e6
    result.update({part: sum(times) / frames for part, times in running.parts.items()})
    result["gigabytes"] = memory("VmHWM") / 1e9
    return result


def process(name: str, reach: int, short: int, runs: int, threads: int) -> Contestant:
    sizes = ["--k", str(reach), "--short", str(short), "--runs", str(runs)]
    return Contestant("bench.full_frame", "--alone", name, *sizes, threads=threads)


def compare(names: list[str], reach: int, short: int, runs: int) -> list[dict]:
    """Prints and returns the times of contestants. Raises InputError for an unknown one."""
    rows = measured(names, reach, short, runs)
    times = {row["name"]: row["frame"] for row in rows}
    base = times.get("published", next(iter(times.values())))
    head("", "seconds per frame", "speed-up", "features", "flow", "other", "peak memory")
    for own in rows:
        own["ratio"] = base / own["frame"]
        networks = {part: own.get(part, 0.0) for part in ("features", "flow")}
        networks["other"] = own["mean"] - sum(networks.values())
        parts = [f"{value:#.3g} s" for value in networks.values()] if "features" in own else ["", "", ""]
        row(own["name"], f"{own['frame']:#.3g}", f"{own['ratio']:.2f}", *parts, f"{own['gigabytes']:.2f} GB")
    for kind in ("float32", "bfloat16"):
        if kind in times and f"torch-{kind}" in times:
            say(f"{kind}: PyTorch takes {times[f'torch-{kind}'] / times[kind]:.2f} times as long as MXNet")
    return rows


def measured(names: list[str], reach: int, short: int, runs: int) -> list[dict]:
    """One row for each contestant that runs here: its median seconds per "frame", and what `alone` returns, in which
    the mean is "mean".
    """
    for name in names:
        case(name, reach, short)
    started = {}
    try:
        for name in installed(names, engine):
            started[name] = process(name, reach, short, 0, int(os.environ["OMP_NUM_THREADS"]))
            answer = started[name].line()
            if answer != "ready":
                say(f"{name}: left out ({json.loads(answer)['left_out']})")
                started.pop(name).stop()
        taken = in_turns(started, runs)
        rows = []
        for name, contestant_ in started.items():
            own = contestant_.result()
            times = [turn / own["frames_a_turn"] for turn in taken[name]]
            rows.append({"name": name, **own, "mean": own["frame"], "frame": statistics.median(times), "frames": times})
        return rows
    finally:
        for contestant_ in started.values():
            contestant_.stop()


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
        "--only", nargs="+", default=CONTESTANTS, metavar="NAME", help="contestants (default: all, without variants)"
    )
    parser.add_argument("--k", type=int, help="frames on either side (default: 9; with --device all of 0 1 2 5 9)")
    parser.add_argument(
        "--short",
        type=int,
        help="short side in pixels (default: 562; with --device 600; 0: the small networks, on frames of MiniVID)",
    )
    parser.add_argument("--runs", type=int, default=5, help="frames timed, the median counts (default: %(default)s)")
    parser.add_argument("--alone", metavar="NAME", help="one contestant, one line of JSON")
    parser.add_argument("--sweep", type=Path, metavar="PNG", help="vary window, size and threads, and plot it here")
    device_options(parser)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", str(cores()))
    reach, short = 9 if args.k is None else args.k, 562 if args.short is None else args.short
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
        write_json(args.json, figures)


if __name__ == "__main__":
    main()
