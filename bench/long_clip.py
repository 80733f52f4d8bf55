"""Measures the memory use of the demo on a long video, and whether it grows.

    nice python -m bench.long_clip [--frames 10000]

Writes a video of the bundled clip, shrunk to 96x64 and played back and forth, and runs `fgfa_rfcn/demo.py` on it in a
separate process, which writes a video and JSON lines. Prints a Markdown table of frames finished and the peak resident
memory since the previous row. Exits with status 1 if memory grows by more than `--growth` MB after the first
`--settled` frames. Reads /proc, so it runs only on Linux.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from lib.cli.demo import CLIP
from lib.video.clips import open_clip
from lib.video.film import Film
from lib.video.records import Result

ROOT = Path(__file__).parents[1]
PAGE = os.sysconf("SC_PAGE_SIZE")


def write_video(path: Path, frames: int) -> None:
    pictures = [
        cv2.resize(frame.image, (96, 64), interpolation=cv2.INTER_AREA) for frame in open_clip(str(ROOT / CLIP))
    ]
    back_and_forth = pictures + pictures[-2:0:-1]
    video = Film(path, 25)
    video.start([])
    for index in range(frames):
        image = back_and_forth[index % len(back_and_forth)]
        video.write(Result(index, "", image, None, lambda image, detections: image))
    video.close()


def watch(command: list[str], lines: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Runs a command -> frames finished (lines of the file `lines`) and memory in MB over time; its seconds."""
    finished, memory, start = [0], [0.0], time.monotonic()
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            while process.poll() is None:
                time.sleep(0.05)
                resident = Path(f"/proc/{process.pid}/statm").read_text().split()
                if resident and lines.exists():
                    with open(lines, "rb") as file:
                        finished.append(sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")))
                    memory.append(int(resident[1]) * PAGE / 1e6)
        finally:
            process.kill()
    if process.returncode:
        sys.exit(f"the demo ended with status {process.returncode}")
    return np.array(finished), np.array(memory), time.monotonic() - start


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the memory use of the demo on a long video.")
    parser.add_argument("--frames", type=int, default=10_000, help="frames of the video (default: %(default)s)")
    parser.add_argument(
        "--settled", type=int, default=1000, help="frames after which memory must not grow (default: %(default)s)"
    )
    parser.add_argument(
        "--growth", type=float, default=8.0, help="growth allowed after them, in MB (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        video, lines = Path(folder, "long.mp4"), Path(folder, "out.jsonl")
        write_video(video, args.frames)
        command = [
            sys.executable, "fgfa_rfcn/demo.py", "--input", video, "--output", Path(folder, "out.mp4"), "--json", lines,
            "--track", "--threshold", "0.3", "--set", "SCALES=[64,96]", "TEST.KEY_FRAME_INTERVAL=2",
        ]  # fmt: skip
        finished, memory, seconds = watch([str(part) for part in command], lines)
        written = len(open(lines, "rb").readlines())
    text, growth = report(finished, memory, args.frames, args.settled)
    sys.stdout.write(
        f"{text}\n\n{written:,} frames in {seconds:.0f} s; memory grew by {growth:.1f} MB after {args.settled:,}\n"
    )
    if written != args.frames or growth > args.growth:
        sys.exit(1)


def report(finished: np.ndarray, memory: np.ndarray, frames: int, settled: int) -> tuple[str, float]:
    """The table, and the growth in MB: the peak after the first `settled` frames minus that in the half before them.

    Samples after the first with all frames are left out: the process is ending, and libraries touch memory then
    (PyTorch's CUDA build, about 100 MB).
    """
    seen = int(np.argmax(finished == frames)) + 1 if (finished == frames).any() else len(finished)
    finished, memory = finished[:seen], memory[:seen]
    rows, step = ["| frames | MB |", "|---:|---:|"], max(1, frames // 10)
    for end in range(step, frames + 1, step):
        span = memory[(finished > end - step) & (finished <= end)]
        rows.append(f"| {end:,} | {span.max():.1f} |" if len(span) else f"| {end:,} | not sampled |")
    before = memory[(finished > settled // 2) & (finished <= settled)]
    return "\n".join(rows), memory[finished > settled].max() - before.max()


if __name__ == "__main__":
    main()
