"""Images that show how FGFA processes a frame: flow to its neighbours, their weights, boxes with and without them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from easydict import EasyDict

from fgfa_rfcn.schedule import Schedule
from fgfa_rfcn.window import Inside, VideoDetector
from lib.bbox.detections import Detections
from lib.dataset.classes import ClassList
from lib.errors import InputError
from lib.video.clips import Clip
from lib.video.drawing import draw, flow_to_colour, heat_map, side_by_side
from lib.video.pictures import write_picture
from lib.video.stream import Detector

log = logging.getLogger(__name__)

COLUMNS = 7  # neighbours per row of the sheet


def explain(
    cfg: EasyDict,
    weights: str,
    clip: Clip,
    positions: Sequence[int],
    folder: Path,
    *,
    classes: ClassList,
    threshold: float,
    baseline: Detector,
) -> list[Path]:
    """Writes <name>_window.png and <name>_boxes.png to `folder` for each frame in `positions`.

    The first image shows every frame of the window, the flow to it (on the colour wheel of Baker et al., where full
    saturation is the longest flow of the window), and its weight as a heat map from 0 to the largest weight. Between
    key frames, the window consists of the key frames around. The
    second shows the boxes of `baseline`, which uses only this frame, next to FGFA's. Raises InputError if a position
    is outside the clip.
    """
    watched: list[Inside] = []
    detector = VideoDetector.load(cfg, weights, batch=1, watch=watched.append)
    schedule, written = Schedule.of(cfg.TEST), []
    for position in positions:
        if not 0 <= position < len(clip.numbers):
            last = "" if clip.length is None else f" to {clip.length - 1}"
            raise InputError(f"--explain {position}: the clip's frames are numbered from 0{last}")
        first = position - schedule.replay(position)
        numbers = clip.numbers[first : schedule.needs(position) + 1]
        frames = list(replace(clip, start=numbers[0], stop=numbers[-1] + 1))
        watched.clear()
        found = list(detector(frame.image for frame in frames))[position - first]
        details, frame = watched[position - first], frames[position - first]
        (single,) = baseline([frame.image])
        name = Path(frame.name).stem
        images = {
            f"{name}_window.png": _sheet(details, [each.image for each in frames], first),
            f"{name}_boxes.png": _boxes(frame.image, single, found, classes, threshold),
        }
        for file, image in images.items():
            write_picture(folder / file, image)
            written.append(folder / file)
    log.info("wrote %s", ", ".join(map(str, written)))
    return written


def _sheet(details: Inside, images: list[np.ndarray], first: int) -> np.ndarray:
    """Blocks of COLUMNS frames of the window: the image, the flow to it, its weight."""
    longest = float(np.hypot(details.flow[:, 0], details.flow[:, 1]).max())
    heaviest = float(details.weights.max())
    columns = []
    for number, motion, weight in zip(details.window, details.flow, details.weights):
        image = images[number - first]
        size = image.shape[1::-1]
        colours = cv2.resize(flow_to_colour(motion, longest), size, interpolation=cv2.INTER_NEAREST)
        column = np.vstack([image, colours, heat_map(image, weight, 0.0, heaviest)])
        title = f"{number - details.frame:+d}" if number != details.frame else "this frame"
        columns.append(side_by_side([column], [title]))
    while len(columns) % COLUMNS and len(columns) > COLUMNS:
        columns.append(np.full_like(columns[0], 255))
    blocks = [side_by_side(columns[start : start + COLUMNS]) for start in range(0, len(columns), COLUMNS)]
    return np.vstack(blocks)


def _boxes(
    image: np.ndarray, single: Detections, aggregated: Detections, classes: ClassList, threshold: float
) -> np.ndarray:
    zoom = max(1, 480 // image.shape[0])
    drawn = [
        draw(image, each, classes.names, classes.colours, threshold=threshold, zoom=zoom)
        for each in (single, aggregated)
    ]
    return side_by_side(drawn, ["R-FCN, this frame only", "FGFA"])
