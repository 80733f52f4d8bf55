"""Times FGFA per frame at full size on the CPU: ResNet-101, 562x1000, a window of 19 frames.

    python -m bench.full_frame                              # compares all contestants, which take turns
    python -m bench.full_frame --only float32 float32_h3 float32_h3d3    # chained flow, key frames
    python -m bench.full_frame --sweep docs/images/cost.png # the cost by K, by image size and by threads
    python -m bench.full_frame --alone float32 --k 1 --short 150 --runs 1000    # memory over a long clip

The contestants: `published`, the published graph of MXNet's own operators; `float32`, `int8` and `bfloat16`, the
detector with each TEST.PRECISION; `pytorch`, the same networks in PyTorch (bench/torch_fgfa.py), without proposals,
pooling and NMS. Weights are synthetic, which does not affect times. The time per frame is measured in the steady state,
from one result to the next: one new frame passes through the feature network, and one window through flow, aggregation
and heads. With key frames (`_d3`), it is the mean from one key frame to the next. Memory is the peak of a separate
process that runs one contestant. Those that cannot run here are skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from bench.contestants import CONTESTANTS, VARIANTS, Frame, Timed, contestant, detector, frames_a_turn, precision
from lib.errors import InputError, command
from lib.files import replacing
from lib.machine import cores

REACHES, SHORT_SIDES = (0, 1, 2, 5, 9), (150, 300, 450, 562)


def seconds(frame: Frame, frames: int) -> float:
    """Seconds per frame of a turn of several."""
    start = time.perf_counter()
    frame()
    return (time.perf_counter() - start) / frames


def alone(name: str, reach: int, short: int, runs: int) -> dict:
    """Runs one contestant: mean seconds per frame and part, peak memory, and its growth after ten frames."""
    timed = Timed(precision(name, short))
    ours = name not in ("published", "pytorch")
    frame = detector(name, reach, short, timed) if ours else contestant(name, reach, short)
    frame()
    for times in timed.seconds.values():
        times.clear()
    frames = frames_a_turn(name)
    taken = [seconds(frame, frames) for _ in range(min(runs, 10))]
    before = memory("VmRSS")
    taken += [seconds(frame, frames) for _ in range(runs - len(taken))]
    result = {"frame": statistics.mean(taken), "grown_megabytes": (memory("VmRSS") - before) / 1e6}
    result.update({part: sum(times) / runs / frames for part, times in timed.seconds.items()})
    result["gigabytes"] = memory("VmHWM") / 1e9
    return result


def memory(which: str) -> int:
    """Bytes: VmRSS now, VmHWM at most. (getrusage would count the memory of the parent process.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) * 1024


def in_own_process(name: str, reach: int, short: int, runs: int, threads: int) -> dict:
    command_line = [sys.executable, "-m", "bench.full_frame", "--alone", name, "--k", str(reach), "--short", str(short)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [*command_line, "--runs", str(runs)], env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def in_turns(names: list[str], reach: int, short: int, runs: int) -> dict[str, float]:
    """Median seconds per frame of each. Those that cannot run here are skipped with a message."""
    running: dict[str, Frame] = {}
    for name in names:
        try:
            running[name] = contestant(name, reach, short)
        except (InputError, ImportError) as error:
            say(f"{name}: left out ({error})")
    times: dict[str, list[float]] = {name: [] for name in running}
    for frame in running.values():
        frame()
    for _ in range(runs):
        for name, frame in running.items():
            times[name].append(seconds(frame, frames_a_turn(name)))
    return {name: statistics.median(taken) for name, taken in times.items()}


def compare(names: list[str], reach: int, short: int, runs: int) -> list[dict]:
    rows = []
    taken = in_turns(names, reach, short, runs)
    base = taken.get("published", next(iter(taken.values())))
    head("", "seconds per frame", "speed-up", "features", "flow", "other", "peak memory")
    for name, frame in taken.items():
        own = in_own_process(name, reach, short, 1, int(os.environ["OMP_NUM_THREADS"]))
        rows.append({"name": name, **own, "frame": frame, "ratio": base / frame})
        parts = ["", "", ""]
        if "flow" in own:
            rest = own["frame"] - own["features"] - own["flow"]
            parts = [f"{own['features']:.2f} s", f"{own['flow']:.2f} s", f"{rest:.2f} s"]
        say(f"| {name} | {frame:.2f} | {base / frame:.2f} | {' | '.join(parts)} | {own['gigabytes']:.2f} GB |")
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
        own = in_own_process("float32", case["reach"], case["short"], runs, case["threads"])
        rows.append({**case, **own})
        rest = own["frame"] - own["features"] - own["flow"]
        image = f"{case['short']} x {round(case['short'] * 1000 / 562)}"
        parts = " | ".join(f"{value:.2f}" for value in (own["frame"], own["features"], own["flow"], rest))
        say(f"| {case['reach']} | {image} | {case['threads']} | {parts} | {own['gigabytes']:.2f} GB |")
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


def head(*columns: str) -> None:
    say(f"| {' | '.join(columns)} |\n|---{'|---:' * (len(columns) - 1)}|")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@command
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*CONTESTANTS, *VARIANTS],
        metavar="NAME",
        default=CONTESTANTS,
        help=f"contestants (default: {' '.join(CONTESTANTS)}; others: {' '.join(VARIANTS)})",
    )
    parser.add_argument("--k", type=int, default=9, help="frames on either side (default: %(default)s)")
    parser.add_argument("--short", type=int, default=562, help="short side in pixels (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="frames timed, the median counts (default: %(default)s)")
    parser.add_argument(
        "--alone", choices=[*CONTESTANTS, *VARIANTS], metavar="NAME", help="one contestant, one line of JSON"
    )
    parser.add_argument("--sweep", type=Path, metavar="PNG", help="vary window, size and threads, and plot it here")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", str(cores()))
    if args.alone:
        say(json.dumps(alone(args.alone, args.k, args.short, args.runs)))
        return
    rows = sweep(args.sweep, args.runs) if args.sweep else compare(list(args.only), args.k, args.short, args.runs)
    if args.json:
        with replacing(args.json) as path:
            path.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
