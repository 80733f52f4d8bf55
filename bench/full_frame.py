"""What a frame of FGFA costs at full size: ResNet-101, 562x1000, a window of 19 frames, on the CPU.

    python -m bench.full_frame                              # all that can run here, in turns, as ratios
    python -m bench.full_frame --sweep docs/images/cost.png # by window, image size and threads, with a plot
    python -m bench.full_frame --alone float32 --k 1 --short 150 --runs 1000    # memory along a clip

The contestants: `published`, the published graph of MXNet's own operators; `float32`, `int8` and `bfloat16`, the
detector at each TEST.PRECISION; `pytorch`, the same networks there (bench/torch_fgfa.py). Weights are made up, which
times do not see. Steady state: a frame's time is that from one result to the next, in which one new frame goes through
the feature network and one window through flow, aggregation and heads. `pytorch` leaves out proposals, pooling and NMS.
Memory is the peak of a process of its own that runs one contestant. What this machine cannot run is left out and named.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from bench.weights import made_up
from fgfa_rfcn import network as fgfa
from lib.backends.base import Network
from lib.backends.mxnet.backend import MXNet
from lib.backends.mxnet.functions import Compiled
from lib.backends.mxnet.loader import mx
from lib.backends.mxnet.precision import Bfloat16, Calibration, Int8, Precision
from lib.config import make_config
from lib.errors import InputError, command
from lib.files import replacing
from lib.inference.detect import batch_detections, picture
from lib.machine import cores
from lib.methods import METHODS

METHOD = METHODS["fgfa_rfcn"]
CONTESTANTS = ("published", "float32", "int8", "bfloat16", "pytorch")
REACHES, SHORT_SIDES = (0, 1, 2, 5, 9), (150, 300, 450, 562)

Frame = Callable[[], object]  # takes in a frame and gives the result for one


def settings(reach: int, short: int):
    return make_config({"SCALES": [short, 10 * short], "TEST": {"KEY_FRAME_INTERVAL": reach}}, METHOD.schema)


def frames(short: int):
    """A texture that moves on, without end: BGR uint8 (short, 16 / 9 short, 3)."""
    coarse = np.random.default_rng(0).integers(0, 255, (24, 48, 3), np.uint8)
    texture = cv2.resize(coarse, (round(short * 1000 / 562), short), interpolation=cv2.INTER_CUBIC)
    for number in count():
        yield np.roll(texture, 4 * number, axis=1)


class TimedNetwork:
    """A network that counts its seconds."""

    def __init__(self, network: Network, seconds: list[float]):
        self._network, self._seconds = network, seconds
        self.buffers = network.buffers

    def __call__(self, **inputs):
        mx.nd.waitall()
        start = time.perf_counter()
        outputs = self._network(**inputs)
        mx.nd.waitall()
        self._seconds.append(time.perf_counter() - start)
        return outputs


class Timed(Precision):
    """Another precision, with the time of each network in `seconds`."""

    def __init__(self, inner: Precision):
        self._inner = inner
        self.seconds: dict[str, list[float]] = {}

    def network(self, name, build, device, args, auxs):
        network = self._inner.network(name, build, device, args, auxs)
        return TimedNetwork(network, self.seconds.setdefault(name, []))


def precision(name: str, short: int) -> Precision:
    """For a contestant; int8 with ranges that another process saw, so that its memory does not count."""
    if name == "bfloat16":
        return Bfloat16(Compiled())
    if name != "int8":
        return Precision(Compiled())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return Int8(Compiled(), pool.apply(ranges, (short,)))


def ranges(short: int) -> dict:
    """What int8 must know, seen on two frames."""
    calibration = Calibration(Compiled())
    detect = made_up_detector(1, short, calibration)
    for _ in detect(frame for frame, _ in zip(frames(short), range(2))):
        pass
    return calibration.ranges()


def made_up_detector(reach: int, short: int, precision: Precision):
    cfg, backend = settings(reach, short), MXNet()
    args, auxs = made_up(METHOD, cfg, backend)
    (device,) = backend.devices("")
    return METHOD.detector(cfg=cfg, args=args, auxs=auxs, backend=backend, device=device, precision=precision, batch=1)


def detector(name: str, reach: int, short: int, timed: Timed | None = None) -> Frame:
    run = made_up_detector(reach, short, timed or precision(name, short))(frames(short))
    return lambda: next(run)


def published(reach: int, short: int) -> Frame:
    """As published: images are concatenated whole, and the caches put in order anew for each window."""
    cfg, backend = settings(reach, short), MXNet("builtin")
    window = fgfa.window_frames(cfg)
    args, auxs = made_up(METHOD, cfg, backend)
    (device,) = backend.devices("")
    features = backend.network(lambda F: fgfa.features(F, cfg), device, args, auxs)
    detection = backend.network(lambda F: fgfa.test(F, cfg), device, args, auxs)
    source = frames(short)
    first = picture(next(source), cfg)
    (maps,) = features(data=first.data).values()
    inputs = detection.buffers(
        data=first.data.shape,
        im_info=(1, 3),
        order=(1, window),
        data_cache=(window, *first.data.shape[1:]),
        feat_cache=(window, *maps.shape[1:]),
    )
    numbers = count()

    def frame():
        number = next(numbers)
        item, slot = picture(next(source), cfg), number % window
        (found,) = features(data=item.data).values()
        inputs["feat_cache"].write([slot], found)
        inputs["data_cache"].write([slot], item.data)
        inputs["data"].write([0], item.data)
        order = (np.arange(window) + number + 1) % window
        outputs = detection(order=order[None].astype(np.float32), im_info=item.im_info)
        return batch_detections(outputs, item.im_info, cfg.TEST)

    return frame


def pytorch(reach: int, short: int) -> Frame:
    import torch

    from bench.torch_fgfa import TorchFgfa

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    cfg, source = settings(reach, short), frames(short)
    network = TorchFgfa(*made_up(METHOD, cfg, MXNet()), picture(next(source), cfg).data, reach)
    return lambda: network.frame(picture(next(source), cfg).data)


def contestant(name: str, reach: int, short: int) -> Frame:
    """InputError or ImportError: it cannot run here."""
    if name in ("published", "pytorch"):
        return {"published": published, "pytorch": pytorch}[name](reach, short)
    return detector(name, reach, short)


def seconds(frame: Frame) -> float:
    start = time.perf_counter()
    frame()
    return time.perf_counter() - start


def alone(name: str, reach: int, short: int, runs: int) -> dict:
    """Run in a process of its own: mean seconds, those of the parts, peak memory, its growth after ten frames."""
    timed = Timed(precision(name, short))
    ours = name not in ("published", "pytorch")
    frame = detector(name, reach, short, timed) if ours else contestant(name, reach, short)
    frame()
    for times in timed.seconds.values():
        times.clear()
    taken = [seconds(frame) for _ in range(min(runs, 10))]
    before = memory("VmRSS")
    taken += [seconds(frame) for _ in range(runs - len(taken))]
    result = {"frame": statistics.mean(taken), "grown_megabytes": (memory("VmRSS") - before) / 1e6}
    result.update({part: sum(times) / runs for part, times in timed.seconds.items()})
    result["gigabytes"] = memory("VmHWM") / 1e9
    return result


def memory(which: str) -> int:
    """Bytes: VmRSS now, VmHWM at most. (getrusage's begin with those of the process that started this one.)"""
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
    """Median seconds a frame of each; those that cannot run here are left out and named."""
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
            times[name].append(seconds(frame))
    return {name: statistics.median(taken) for name, taken in times.items()}


def compare(names: list[str], reach: int, short: int, runs: int) -> list[dict]:
    rows = []
    taken = in_turns(names, reach, short, runs)
    base = taken.get("published", next(iter(taken.values())))
    head("", "seconds a frame", "times as fast", "features", "flow", "the rest", "peak memory")
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
    """Seconds a frame and memory of the float32 detector, one size changed at a time."""
    full = {"reach": 9, "short": 562, "threads": cores()}
    changes = [{"reach": reach} for reach in REACHES[:-1]] + [{"short": short} for short in SHORT_SIDES[:-1]]
    changes += [{"threads": threads} for threads in range(1, cores())] + [{}]
    head("K", "image", "threads", "seconds a frame", "features", "flow", "the rest", "peak memory")
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
        panel.fill_between(x, bottom, [row["frame"] for row in line], alpha=0.5, label="the rest")
        panel.plot(x, [row["frame"] for row in line], "k.-")
        panel.set_xlabel(label)
        panel.set_xticks(x)
    panels[0].set_ylabel("seconds a frame")
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
        "--only", nargs="+", choices=CONTESTANTS, default=CONTESTANTS, help="contestants (default: all)"
    )
    parser.add_argument("--k", type=int, default=9, help="frames on either side (default: %(default)s)")
    parser.add_argument("--short", type=int, default=562, help="short side in pixels (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="frames timed, the median counts (default: %(default)s)")
    parser.add_argument("--alone", choices=CONTESTANTS, help="one contestant, one line of JSON")
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
