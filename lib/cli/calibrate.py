"""Calibration: measures the value ranges that int8 needs, by running a detector in float32."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path

import numpy as np
from easydict import EasyDict
from tqdm import tqdm

from lib.argument import Parser
from lib.backends.choice import backend_of
from lib.cli.options import add_network, begin, weights_of
from lib.dataset.imagenet_vid import train_entries
from lib.errors import InputError, command
from lib.method import Method
from lib.video.clips import Clip, open_clips
from lib.video.sources import PictureFiles

log = logging.getLogger(__name__)


@command
def run_calibration(argv: list[str] | None, method: Method) -> None:
    """Entry point of a method's `calibrate.py`."""
    written = Path(method.bundled.weights)
    doc = (
        f"Measure, on training clips, the value ranges inside {method.title}'s convolutional networks that "
        f"TEST.PRECISION int8 needs, and write them next to the weights: {written.name} -> {written.stem}.int8.json."
    )
    parser = Parser(description=doc)
    add_network(parser, *method.bundled, method.schema)
    parser.add_argument(
        "--input", nargs="+", help="image folders, images or videos to measure on (default: clips of dataset.image_set)"
    )
    parser.add_argument("--clips", type=int, default=24, help="number of clips (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=10, help="number of frames per clip (default: %(default)s)")
    args = parser.parse_args(argv)
    for option in ("clips", "frames"):
        if getattr(args, option) < 1:
            raise InputError(f"--{option} {getattr(args, option)}: must be 1 or more")
    settings = begin(args.cfg, args.set, method.schema)
    args.weights = weights_of(args, settings, method)
    backend = backend_of(settings)
    calibration = backend.calibration()  # first: only MXNet has it
    if args.input:
        clips = open_clips(args.input, frames=f"0:{args.frames}")[: args.clips]
    else:
        clips = training_clips(settings, args.clips, args.frames)
    detector = method.detector.load(settings, args.weights, backend=backend, precision=calibration)
    for clip in tqdm(clips, unit=" clips", desc="calibration", disable=None):
        deque(detector(frame.image for frame in clip), maxlen=0)
    log.info("wrote %s, the ranges for TEST.PRECISION: int8", calibration.save(args.weights))


def training_clips(cfg: EasyDict, count: int, frames: int) -> list[Clip]:
    """The first `frames` frames of `count` clips (or still images) spread evenly over the training lists."""
    entries = {
        entry.video or entry.image_id: entry
        for entry in reversed(train_entries(cfg.dataset.dataset_path, cfg.dataset.image_set))
    }
    names = sorted(entries)
    chosen = [names[place] for place in np.unique(np.linspace(0, len(names) - 1, count).astype(int))]
    clips = []
    for name in chosen:
        entry = entries[name]
        pictures = [entry.neighbour(step - entry.frame) for step in range(min(frames, entry.num_frames))]
        clips.append(Clip(name, PictureFiles(pictures)))
    return clips
