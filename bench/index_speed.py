"""Times building the annotation index, from scratch and from its cache.

    python bench/index_speed.py [--files 100000]

Generates XML files like those of ImageNet VID (500 frames per clip, 0 to 4 objects per frame, from a fixed seed) in a
temporary folder, builds the index twice and compares the results.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lib.dataset.classes import ClassList
from lib.dataset.imagenet_vid import build_index
from lib.dataset.index import ARRAYS
from lib.machine import cores

OBJECT = """\t<object>
\t\t<trackid>{track}</trackid>
\t\t<name>{name}</name>
\t\t<bndbox>
\t\t\t<xmax>{x2}</xmax>
\t\t\t<xmin>{x1}</xmin>
\t\t\t<ymax>{y2}</ymax>
\t\t\t<ymin>{y1}</ymin>
\t\t</bndbox>
\t\t<occluded>{occluded}</occluded>
\t\t<generated>0</generated>
\t</object>
"""
FILE = """<annotation>
\t<folder>{folder}</folder>
\t<filename>{frame:06d}</filename>
\t<source>
\t\t<database>ILSVRC_2015</database>
\t</source>
\t<size>
\t\t<width>1280</width>
\t\t<height>720</height>
\t</size>
{objects}</annotation>
"""
CLIP = 500  # frames


def generate(folder: Path, count: int, classes: ClassList) -> list[str]:
    """Writes `count` annotation files to `folder` and returns their image ids."""
    rng = np.random.default_rng(0)
    image_ids = []
    for number in tqdm(range(count), desc="writing files", unit=" files", disable=None):
        clip, frame = divmod(number, CLIP)
        video = f"train/ILSVRC2015_train_{clip:08d}"
        if frame == 0:
            (folder / video).mkdir(parents=True)
        objects = ""
        for track in range(rng.integers(5)):
            x1, y1 = (int(value) for value in rng.integers(0, 700, 2))
            size = {"x1": x1, "y1": y1, "x2": x1 + int(rng.integers(500)), "y2": y1 + int(rng.integers(500))}
            name = classes.ids[int(rng.integers(len(classes)))]
            objects += OBJECT.format(track=track, name=name, occluded=int(rng.integers(2)), **size)
        image_ids.append(f"{video}/{frame:06d}")
        (folder / f"{image_ids[-1]}.xml").write_text(FILE.format(folder=video, frame=frame, objects=objects))
    return image_ids


def cpu_seconds() -> float:
    """Processor time of this process and its finished children, which other load hardly affects."""
    return sum(os.times()[:4])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000, help="number of annotation files (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="processes (default: one per core)")
    args = parser.parse_args(argv)
    classes = ClassList.builtin("ImageNetVID")
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name, "Annotations"), Path(name, "cache")
        image_ids = generate(folder, args.files, classes)
        figures, results = [], []
        for _ in range(2):
            start, spent = time.perf_counter(), cpu_seconds()
            results.append(build_index(folder, image_ids, classes, cache=cache, workers=args.workers))
            figures.append((time.perf_counter() - start, cpu_seconds() - spent))
        (file,) = cache.iterdir()
        size = file.stat().st_size
    if not all(np.array_equal(getattr(results[0], name), getattr(results[1], name)) for name in ARRAYS):
        sys.exit("the cached index differs from the one built from scratch")
    print(
        f"{args.files} files, {len(results[0].boxes)} objects; {args.workers or cores()} processes, "
        f"Python {platform.python_version()}"
    )
    for what, (taken, cpu) in zip(("from scratch", "from the cache"), figures):
        print(f"{what:15} {taken:7.2f} s {args.files / taken:10.0f} files/s {cpu:8.2f} s of CPU")
    print(f"cache           {size / 1e6:7.2f} MB")


if __name__ == "__main__":
    main()
