"""Times Seq-NMS at the published size, and for a growing number of frames.

    python -m bench.seq_nms_speed

Boxes are synthetic, generated from a seed: objects drift through the image with several boxes around each, which gives
many links, suppressed boxes and broken paths.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from lib.nms.seq_nms import seq_nms


def synthetic(classes: int, frames: int, boxes: int, seed: int, life: int = 250) -> list[list[np.ndarray]]:
    """dets[class][frame] (boxes, 5): three boxes around each of boxes / 3 drifting objects.

    All objects are replaced every `life` frames, so long videos differ from short ones only in length.
    """
    rng = np.random.default_rng(seed)
    objects = max(boxes // 3, 1)
    owner = np.arange(boxes) % objects
    dets = []
    for _ in range(classes):
        dets.append([])
        for start in range(0, frames, life):
            count = min(life, frames - start)
            drift = np.cumsum(rng.normal(0, 1.5, (count, objects, 2)), axis=0)
            centre = (rng.uniform(0, 600, (objects, 2)) + drift)[:, owner] + rng.normal(0, 4, (count, boxes, 2))
            size = rng.uniform(15, 75, (objects, 2))[owner] * np.exp(rng.normal(0, 0.05, (count, boxes, 2)))
            score = rng.random((count, boxes, 1))
            dets[-1].extend(np.concatenate([centre - size, centre + size, score], axis=2))
    return dets


def seconds(dets: list[list[np.ndarray]], runs: int) -> float:
    best = float("inf")
    for _ in range(runs):
        start = time.process_time()
        seq_nms(dets)
        best = min(best, time.process_time() - start)
    return best


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time Seq-NMS and print a Markdown table.")
    parser.add_argument(
        "--frames", type=int, nargs="+", default=[500, 1000, 2000, 5000], help="lengths to try (default: %(default)s)"
    )
    parser.add_argument("--boxes", type=int, default=28, help="boxes per frame (default: %(default)s)")
    parser.add_argument(
        "--life", type=int, default=250, help="frames until objects are replaced (default: %(default)s)"
    )
    parser.add_argument(
        "--runs", type=int, default=3, help="runs of each; the fastest is reported (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the boxes (default: %(default)s)")
    args = parser.parse_args(argv)
    lines = ["| classes x frames x boxes | processor time | per frame and class |", "|---|---|---|"]
    for classes, frames in [(30, 100), *((1, count) for count in args.frames)]:
        taken = seconds(synthetic(classes, frames, args.boxes, args.seed, args.life), args.runs)
        each = 1e6 * taken / (classes * frames)
        lines.append(f"| {classes} x {frames:,} x {args.boxes} | {taken:.3f} s | {each:.1f} µs |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
