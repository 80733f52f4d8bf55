"""Times the loading of training examples at 600 x 1000 with the published augmentation, and decoders of JPEG files.

    python -m bench.loader
    python -m bench.loader --size 1280 720    # frames that have to be resized

The frames are MiniVID's, generated in that size. Processor time counts all threads of this process; it varies less than
wall time when the machine has other work. simplejpeg and PyTurboJPEG are measured where they are installed; parts take
turns, and medians are reported.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from bench.turns import head, row, say
from lib.backends.base import Alone
from lib.config import load_config
from lib.dataset.image import prepare, read
from lib.dataset.loader import TrainLoader
from lib.errors import command
from lib.methods import METHODS
from lib.minivid.settings import Settings
from lib.minivid.write import generate
from lib.training.train import make_loader

STEP, CORES = 0.150, 2  # seconds of a training step, and cores that load examples for it
Decoder = Callable[[bytes], np.ndarray]  # the content of a JPEG file -> BGR (H, W, 3) uint8


def decoders() -> dict[str, Decoder]:
    """OpenCV, as `lib.dataset.image.read` calls it, and those of the others that are installed."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    found: dict[str, Decoder] = {"cv2": lambda content: cv2.imdecode(np.frombuffer(content, np.uint8), flags)}
    if find_spec("simplejpeg"):
        import simplejpeg

        found["simplejpeg"] = lambda content: simplejpeg.decode_jpeg(content, colorspace="BGR")
    if find_spec("turbojpeg"):
        from turbojpeg import TurboJPEG

        found["PyTurboJPEG"] = TurboJPEG().decode
    return found


def loader(root: Path, method: str, workers: int) -> TrainLoader:
    """The loader for training the published network on the dataset at `root`."""
    overrides = [
        f"dataset.dataset_path={root}",
        f"output_path={root / 'output'}",
        "dataset.image_set=VID_train_15frames",
    ]
    overrides += [f"dataset.CLASSES={root / 'classes.txt'}", "dataset.NUM_CLASSES=9", "gpus="]
    cfg = load_config(METHODS[method].published.cfg, overrides, METHODS[method].schema)
    return make_loader(cfg, Alone([None]), METHODS[method].sample(cfg), workers=workers)


def in_turns(parts: Mapping[str, Callable[[], int]], runs: int) -> dict[str, tuple[float, float]]:
    """Median (wall, processor) seconds of each part, divided by what it returns."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
    for _ in range(runs):
        for name, part in parts.items():
            wall, processor = time.perf_counter(), time.process_time()
            count = part()
            taken[name].append(((time.perf_counter() - wall) / count, (time.process_time() - processor) / count))
    return {name: tuple(map(statistics.median, zip(*times))) for name, times in taken.items()}


def compare_decoders(files: list[Path], runs: int) -> None:
    """Prints the time that each decoder takes for an image."""
    contents = [path.read_bytes() for path in files]

    def pass_over(decode: Decoder) -> int:  # keeps the images, so that each decoder has to get memory for them
        return len([decode(content) for content in contents])

    available = decoders()
    times = in_turns({name: lambda decode=decode: pass_over(decode) for name, decode in available.items()}, runs)
    head("decoder", "processor time an image", "largest difference from cv2")
    for name, (_, processor) in times.items():
        pairs = ((available[name](content).astype(int), available["cv2"](content)) for content in contents)
        row(name, f"{1e3 * processor:.1f} ms", str(max(int(np.abs(own - reference).max()) for own, reference in pairs)))


def parts_of_an_image(files: list[Path], rfcn: TrainLoader, runs: int) -> None:
    """Prints the time that each part of loading an image takes."""
    images = [read(path) for path in files]

    def reading() -> int:
        return sum(read(path) is not None for path in files)

    def preparing() -> int:
        return sum(len(prepare(image, 600, 1000, (100, 100, 100), flip=True)[0]) for image in images)

    def whole() -> int:
        order = rfcn.order(0)[: len(files), 0].tolist()
        return sum(len(rfcn.batch(0, position, *item)["data"]) for position, item in enumerate(order))

    parts = {
        "read, check and decode": reading,
        "mirror, resize, subtract the mean": preparing,
        "all of it, and the labels of the anchors": whole,
    }
    times = in_turns(parts, runs)
    head("part", "processor time an image")
    for name, (_, processor) in times.items():
        row(name, f"{1e3 * processor:.1f} ms")


def rates(root: Path, steps: int, runs: int) -> dict[tuple[str, int], tuple[float, float]]:
    """Prints the rates by method and number of workers; returns (wall, processor) seconds per example."""

    def epoch(method: str, workers: int) -> int:
        with contextlib.closing(loader(root, method, workers).epoch(0)) as batches:
            return sum(len(step) for step in itertools.islice(batches, steps))

    cases = list(itertools.product(("rfcn", "fgfa_rfcn"), (1, 2)))
    times = in_turns({str(case): lambda case=case: epoch(*case) for case in cases}, runs)
    head("method", "workers", "images per second", "images per second of processor time", "processor time per example")
    for case in cases:
        wall, processor = times[str(case)]
        images = {"rfcn": 1, "fgfa_rfcn": 3}[case[0]]
        cells = (f"{images / wall:.0f}", f"{images / processor:.0f}", f"{1e3 * processor:.0f} ms")
        row(METHODS[case[0]].title, str(case[1]), *cells)
    return {case: times[str(case)] for case in cases}


@command
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--size", type=int, nargs=2, default=(1000, 600), metavar=("W", "H"), help="of the frames (default: 1000 600)"
    )
    parser.add_argument("--runs", type=int, default=5, help="turns of each part (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=24, help="examples loaded in a turn (default: %(default)s)")
    args = parser.parse_args(argv)
    width, height = args.size
    with tempfile.TemporaryDirectory() as folder:
        root = generate(
            Path(folder) / "MiniVID", Settings(train=4, val=0, frames=12, height=height, width=width), progress=False
        )
        files = sorted(root.glob("Data/VID/train/*/*.JPEG"))[::2]
        size = statistics.mean(path.stat().st_size for path in files)
        say(f"{len(files)} frames of {width} x {height}, {size / 1e3:.0f} kB on average")
        compare_decoders(files, args.runs)
        parts_of_an_image(files, loader(root, "rfcn", 1), args.runs)
        found = rates(root, args.steps, args.runs)
    for method in ("rfcn", "fgfa_rfcn"):
        needed = found[method, 1][1]
        say(
            f"{METHODS[method].title}: an example needs {1e3 * needed:.0f} ms of processor time; {CORES} cores have "
            f"{1e3 * CORES * STEP:.0f} ms in a step of {1e3 * STEP:.0f} ms, {CORES * STEP / needed:.1f} times as much"
        )


if __name__ == "__main__":
    main()
