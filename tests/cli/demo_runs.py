"""Runs of the demo with a detector that moves a box, for the tests of its options and outputs."""

from __future__ import annotations

import argparse
import json

import cv2
import numpy as np

from lib.bbox.detections import Detections
from lib.cli import demo
from lib.dataset.classes import ClassList

CLASSES = ClassList(["n1", "n2"], ["cat", "dog"], [(255, 0, 0), (0, 255, 0)])


def moving_box(frames):
    """A cat that moves a pixel a frame, and a faint dog."""
    for i, _ in enumerate(frames):
        boxes = np.array([[10 + i, 30, 40 + i, 60], [0, 0, 9, 9]], np.float32)
        yield Detections(boxes, np.array([0.9, 0.3], np.float32), np.array([1, 2], np.int32))


def write_clip(path, names):
    path.mkdir()
    for name in names:
        cv2.imwrite(str(path / name), np.full((90, 120, 3), 127, np.uint8))
    return path


def run(*options, make=lambda: moving_box, method="fake", **more):
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser, cfg="a.yaml", weights="none.params", inputs=["nowhere"])
    args = parser.parse_args([str(option) for option in options])
    args.weights = args.weights or "none.params"
    return demo.run(make, args, CLASSES, method=method, progress=False, **more)


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]
