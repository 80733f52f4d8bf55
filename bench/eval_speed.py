"""Times the evaluation: at the scale of ImageNet VID val, and compared with a reference in plain Python.

    python -m bench.eval_speed

Detections and objects are synthetic, generated from a seed. The first part times everything from opening the text file
to the average precisions of 16 ranges, in a separate process whose peak memory is reported.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench import evaluation_reference as reference
from lib.dataset.imagenet_vid import AnnotationIndex
from lib.eval.detections import DetectionTable, read_detections, write_detections
from lib.eval.evaluation import evaluate
from lib.eval.truth import Truth

CLASSES = 30
FRAMES_PER_VIDEO = 317


def synthetic_truth(frames: int, seed: int) -> Truth:
    """As many objects as in the official set: 1.55 per frame, with some frames empty."""
    rng = np.random.default_rng(seed)
    counts = np.minimum(rng.geometric(0.63, frames) * (rng.random(frames) > 0.023), 12)
    total = int(counts.sum())
    corner = np.stack([rng.integers(0, 1000, total), rng.integers(0, 600, total)], axis=1)
    size = np.exp(rng.uniform(np.log(12), np.log(600), (total, 2))).astype(int)
    index = AnnotationIndex(
        [f"val/{i // FRAMES_PER_VIDEO:08d}/{i % FRAMES_PER_VIDEO:06d}" for i in range(frames)],
        np.full((frames, 2), (1280, 720), np.int32),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([corner, corner + size], axis=1).astype(np.float32),
        rng.integers(1, CLASSES + 1, total).astype(np.int32),
        np.zeros(total, np.int32),
        np.zeros(total, bool),
        np.zeros(total, bool),
    )
    return Truth.of(index, np.arange(1, frames + 1), np.round(rng.beta(4, 1.2, total), 4))


def synthetic_detections(truth: Truth, count: int, seed: int) -> DetectionTable:
    """A tenth lie near objects, mostly with the right class, the others anywhere; ordered by frame."""
    rng = np.random.default_rng(seed)
    frames = len(truth.frame_ids)
    object_frames = np.repeat(np.arange(frames), np.diff(truth.object_starts))
    near = rng.integers(0, len(object_frames), count // 10)
    places = rng.integers(0, frames, count - len(near))
    corner = np.stack([rng.uniform(0, 1000, len(places)), rng.uniform(0, 600, len(places))], axis=1)
    size = np.exp(rng.uniform(np.log(10), np.log(500), (len(places), 2)))
    classes = truth.classes[near].copy()
    wrong = rng.random(len(near)) < 0.2
    classes[wrong] = rng.integers(1, CLASSES + 1, int(wrong.sum()))
    jitter = rng.normal(0, 0.1, (len(near), 4)) * np.tile(truth.boxes[near, 2:] - truth.boxes[near, :2], 2)
    table = DetectionTable(
        truth.frame_ids[np.concatenate([object_frames[near], places])],
        np.concatenate([classes, rng.integers(1, CLASSES + 1, len(places))]).astype(np.int32),
        np.round(np.concatenate([rng.beta(3, 2, len(near)), rng.beta(1, 8, len(places))]), 4),
        np.round(np.concatenate([truth.boxes[near] + jitter, np.concatenate([corner, corner + size], axis=1)]), 2),
    )
    return table.take(np.argsort(table.frame_ids, kind="stable"))


def timed(path: Path, frames: int, seed: int) -> dict:
    """Times of reading and evaluating, and the peak memory of this process."""
    truth = synthetic_truth(frames, seed)
    marks = [(time.perf_counter(), time.process_time())]
    table = read_detections([path], CLASSES)
    marks.append((time.perf_counter(), time.process_time()))
    result = evaluate(table, truth, reference.class_list(CLASSES))
    marks.append((time.perf_counter(), time.process_time()))
    return {
        "detections": len(table),
        "marks": marks,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "mean": float(result.mean[0, 0]),
    }


def row(what: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    return f"| {what} | {end[0] - start[0]:.3g} s | {end[1] - start[1]:.3g} s |"


def full_scale(frames: int, detections: int, seed: int) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detections.txt"
        write_detections(path, synthetic_detections(synthetic_truth(frames, seed), detections, seed + 1))
        size = path.stat().st_size / 2**20
        arguments = [sys.executable, "-m", "bench.eval_speed", "--child", path, "--frames", str(frames)]
        run = subprocess.run([*arguments, "--seed", str(seed)], check=True, capture_output=True, text=True)
    found = json.loads(run.stdout)
    begin, read, end = found["marks"]
    return [
        row(f"{frames:,} frames, {found['detections']:,} detections, 16 ranges: {size:.0f} MiB of text", begin, read),
        row("the same: match, sort, average precision", read, end),
        row(f"the same: total, peak memory {found['peak_mib'] / 1024:.2f} GiB", begin, end),
    ]


def against_reference(frames: int, seed: int) -> list[str]:
    truth = synthetic_truth(frames, seed)
    table = synthetic_detections(truth, 40 * frames, seed + 1)
    starts = truth.object_starts
    objects = list(zip(truth.classes.tolist(), map(tuple, truth.boxes.tolist()), truth.motion.tolist()))
    plain_frames = [(int(i), objects[a:b]) for i, a, b in zip(truth.frame_ids, starts[:-1], starts[1:])]
    plain_found = list(
        zip(table.frame_ids.tolist(), table.classes.tolist(), table.scores.tolist(), map(tuple, table.boxes.tolist()))
    )
    marks = [(time.perf_counter(), time.process_time())]
    expected = reference.evaluate(plain_found, plain_frames, CLASSES)
    marks.append((time.perf_counter(), time.process_time()))
    result = evaluate(table, truth, reference.class_list(CLASSES))
    marks.append((time.perf_counter(), time.process_time()))
    difference = np.abs(result.ap - expected).max()
    if not difference < 1e-9:
        raise SystemExit(f"the compiled evaluation differs from the reference by {difference}")
    ratio = (marks[1][1] - marks[0][1]) / (marks[2][1] - marks[1][1])
    return [
        row(f"{frames} frames x 40 detections, 16 ranges: plain Python reference", *marks[:2]),
        row(f"the same, compiled: {ratio:.0f} times as fast, APs differ by at most {difference:.0e}", *marks[1:]),
    ]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time the evaluation and print a Markdown table.")
    parser.add_argument("--frames", type=int, default=176126, help="frames of the large set (default: as in VID val)")
    parser.add_argument(
        "--detections", type=int, default=7_000_000, help="detections on the large set (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the synthetic data (default: %(default)s)")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        sys.stdout.write(json.dumps(timed(args.child, args.frames, args.seed)))
        return
    lines = ["| what | clock | processor time |", "|---|---|---|", *full_scale(args.frames, args.detections, args.seed)]
    sys.stdout.write("\n".join([*lines, *against_reference(600, args.seed)]) + "\n")


if __name__ == "__main__":
    main()
