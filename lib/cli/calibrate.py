"""Calibration: the ranges that int8 needs to know, from running a detector in float32."""

from __future__ import annotations

import argparse
import logging
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from easydict import EasyDict
from tqdm import tqdm

from lib.backends.mxnet.precision import Calibration
from lib.cli.setup import add_network, begin
from lib.dataset.imagenet_vid import train_entries
from lib.errors import InputError
from lib.video.clips import Clip, open_clips
from lib.video.sources import PictureFiles
from lib.video.stream import Detector

log = logging.getLogger(__name__)


def main_of(argv: Sequence[str] | None, doc: str, *, cfg: str, weights: str, load: Callable[..., Detector]) -> None:
    """The command of a method. load(settings, weights, precision=…) -> its detector."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_network(parser, cfg, weights)
    parser.add_argument(
        "--input", nargs="+", help="folders, pictures or videos to look at (default: clips of dataset.image_set)"
    )
    parser.add_argument("--clips", type=int, default=24, help="clips to look at (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=10, help="frames of each (default: %(default)s)")
    args = parser.parse_args(argv)
    for option in ("clips", "frames"):
        if getattr(args, option) < 1:
            raise InputError(f"--{option} {getattr(args, option)}: must be 1 or more")
    settings = begin(args.cfg, args.set)
    if args.input:
        clips = open_clips(args.input, frames=f"0:{args.frames}")[: args.clips]
    else:
        clips = training_clips(settings, args.clips, args.frames)
    calibration = Calibration()
    detector = load(settings, args.weights, precision=calibration)
    for clip in tqdm(clips, unit=" clips", desc="calibration", disable=None):
        deque(detector(frame.image for frame in clip), maxlen=0)
    log.info("wrote %s; TEST.PRECISION: int8 takes it from there", calibration.save(args.weights))


def training_clips(cfg: EasyDict, count: int, frames: int) -> list[Clip]:
    """The first `frames` frames of `count` clips, or still images, spread over the training lists."""
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
