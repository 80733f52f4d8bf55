"""A full disk leaves whole frames in every sink."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lib.video.film import Film
from tests.video.results import film_frames

FULL_DISK = """
import json, resource, sys
import numpy as np
from lib.bbox.detections import Detections
from lib.dataset.classes import ClassList
from lib.video.film import Film
from lib.video.records import CocoResults, Csv, ImageNetFile, JsonLines, Result

kind, path, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
classes = ClassList(["n1"], ["cat"], [(255, 0, 0)])
sink = {"json": lambda: JsonLines(path, classes), "csv": lambda: Csv(path, classes),
        "imagenet": lambda: ImageNetFile(path), "coco": lambda: CocoResults(path), "film": lambda: Film(path, 10)}
sink = sink[kind]()
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # a file cannot grow beyond, as on a full disk
noise = np.random.default_rng(0)
found = Detections(np.ones((2, 4), np.float32), np.ones(2, np.float32), np.ones(2, np.int32))
sink.start([])
done = 0
try:
    for index in range(5000):
        image = noise.integers(0, 255, (48, 64, 3), np.uint8)
        sink.write(Result(index, str(index), image, found, lambda image, detections: image))
        done += 1
except OSError:
    try:
        sink.close()
    except OSError:
        pass
    print(done)
"""


@pytest.mark.parametrize("kind", ["json", "csv", "imagenet", "coco", "film"])
def test_full_disk_leaves_whole_frames(tmp_path, kind):
    path, limit = tmp_path / f"out.{'mp4' if kind == 'film' else 'txt'}", 200_000 if kind == "film" else 2_000
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, kind, str(path), str(limit)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    done = int(ran.stdout)
    assert done > 3 and path.stat().st_size <= limit
    if kind == "json":
        assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == list(range(done))
    elif kind == "coco":
        assert len(json.loads(path.read_text())) == 2 * done
    elif kind == "film":
        assert 10 <= Film(path, 10).finished() == len(film_frames(path)[1]) <= done
    else:
        lines = path.read_text().splitlines()
        assert len(lines) == 2 * done + (kind == "csv") and path.read_text().endswith("\n")
    assert [left.name for left in tmp_path.iterdir()] == [path.name]
