"""How much memory the demo holds while it works through a long film, and whether that grows.

    nice python -m bench.long_clip [--frames 10000]

Writes a film of the bundled clip, shrunk to 96x64 and played to and fro, and runs `fgfa_rfcn/demo.py` on it in a
process of its own: a film and JSON lines come out. Prints a Markdown table of frames finished against the memory that
is resident, the most since the row above; ends with status 1 where it grows by more than `--growth` behind the first
`--settled` frames. Reads /proc, so it runs on Linux alone.
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


def write_film(path: Path, frames: int) -> None:
    pictures = [
        cv2.resize(frame.image, (96, 64), interpolation=cv2.INTER_AREA) for frame in open_clip(str(ROOT / CLIP))
    ]
    to_and_fro = pictures + pictures[-2:0:-1]
    film = Film(path, 25)
    film.start([])
    for index in range(frames):
        image = to_and_fro[index % len(to_and_fro)]
        film.write(Result(index, "", image, None, lambda image, detections: image))
    film.close()


def watch(command: list[str], lines: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Frames finished, by the growing file `lines`, and resident memory in MB, at moments of a run; and its seconds."""
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
    parser = argparse.ArgumentParser(description="Prints how much memory the demo holds along a film.")
    parser.add_argument("--frames", type=int, default=10_000, help="of the film (default: %(default)s)")
    parser.add_argument("--settled", type=int, default=1000, help="frames until it is to have what it needs")
    parser.add_argument(
        "--growth", type=float, default=8.0, help="MB that it may take after them (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        film, lines = Path(folder, "long.mp4"), Path(folder, "out.jsonl")
        write_film(film, args.frames)
        command = [
            sys.executable, "fgfa_rfcn/demo.py", "--input", film, "--output", Path(folder, "out.mp4"), "--json", lines,
            "--track", "--threshold", "0.3", "--set", "SCALES=[64,96]", "TEST.KEY_FRAME_INTERVAL=2",
        ]  # fmt: skip
        finished, memory, seconds = watch([str(part) for part in command], lines)
        written = len(open(lines, "rb").readlines())
    text, growth = report(finished, memory, args.frames, args.settled)
    sys.stdout.write(
        f"{text}\n\n{written:,} frames in {seconds:.0f} s; behind {args.settled:,} it grew by {growth:.1f} MB\n"
    )
    if written != args.frames or growth > args.growth:
        sys.exit(1)


def report(finished: np.ndarray, memory: np.ndarray, frames: int, settled: int) -> tuple[str, float]:
    """The table, and by how many MB the most behind the first `settled` frames is above that in the half before."""
    rows, step = ["| frames | MB |", "|---:|---:|"], max(1, frames // 10)
    for end in range(step, frames + 1, step):
        span = memory[(finished > end - step) & (finished <= end)]
        rows.append(f"| {end:,} | {span.max():.1f} |" if len(span) else f"| {end:,} | not seen |")
    before = memory[(finished > settled // 2) & (finished <= settled)]
    return "\n".join(rows), memory[finished > settled].max() - before.max()


if __name__ == "__main__":
    main()
