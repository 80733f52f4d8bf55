"""Pictures of what FGFA does for a frame: flow to its neighbours, their weights, and boxes with and without them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from easydict import EasyDict

from fgfa_rfcn.window import Inside, VideoDetector
from lib.bbox.detections import Detections
from lib.dataset.classes import ClassList
from lib.errors import InputError
from lib.video.clips import Clip
from lib.video.drawing import draw, flow_to_colour, heat_map, side_by_side
from lib.video.pictures import write_picture
from lib.video.stream import Detector

log = logging.getLogger(__name__)

COLUMNS = 7  # neighbours in a row of the sheet


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
    """Writes, for each frame of `positions`, <name>_window.png and <name>_boxes.png to `folder`.

    The first shows every neighbour of the window, the flow to it in colours (the wheel of Baker et al.; the fullest
    colour is the longest flow of the window), and its weight as a heat map, 0 to the largest; the second the boxes of
    `baseline`, which sees the frame alone, beside FGFA's. InputError: a position outside the clip.
    """
    seen: list[Inside] = []
    detector = VideoDetector.load(cfg, weights, batch=1, watch=seen.append)
    reach, written = cfg.TEST.KEY_FRAME_INTERVAL, []
    for position in positions:
        if not 0 <= position < len(clip.numbers):
            last = "" if clip.length is None else f" to {clip.length - 1}"
            raise InputError(f"--explain {position}: the clip's frames are numbered from 0{last}")
        first = max(0, position - reach)
        numbers = clip.numbers[first : position + reach + 1]
        frames = list(replace(clip, start=numbers[0], stop=numbers[-1] + 1))
        seen.clear()
        found = list(detector(frame.image for frame in frames))[position - first]
        inside, frame = seen[position - first], frames[position - first]
        (alone,) = baseline([frame.image])
        name = Path(frame.name).stem
        pictures = {
            f"{name}_window.png": _sheet(inside, [each.image for each in frames], first),
            f"{name}_boxes.png": _boxes(frame.image, alone, found, classes, threshold),
        }
        for file, picture in pictures.items():
            write_picture(folder / file, picture)
            written.append(folder / file)
    log.info("explained: %s", ", ".join(map(str, written)))
    return written


def _sheet(inside: Inside, images: list[np.ndarray], first: int) -> np.ndarray:
    """Blocks of COLUMNS neighbours: the picture, the flow to it, its weight."""
    longest = float(np.hypot(inside.flow[:, 0], inside.flow[:, 1]).max())
    heaviest = float(inside.weights.max())
    columns = []
    for number, motion, weight in zip(inside.window, inside.flow, inside.weights):
        image = images[number - first]
        size = image.shape[1::-1]
        colours = cv2.resize(flow_to_colour(motion, longest), size, interpolation=cv2.INTER_NEAREST)
        column = np.vstack([image, colours, heat_map(image, weight, 0.0, heaviest)])
        title = f"{number - inside.frame:+d}" if number != inside.frame else "this frame"
        columns.append(side_by_side([column], [title]))
    while len(columns) % COLUMNS and len(columns) > COLUMNS:
        columns.append(np.full_like(columns[0], 255))
    blocks = [side_by_side(columns[start : start + COLUMNS]) for start in range(0, len(columns), COLUMNS)]
    return np.vstack(blocks)


def _boxes(
    image: np.ndarray, alone: Detections, together: Detections, classes: ClassList, threshold: float
) -> np.ndarray:
    zoom = max(1, 480 // image.shape[0])
    drawn = [
        draw(image, each, classes.names, classes.colours, threshold=threshold, zoom=zoom) for each in (alone, together)
    ]
    return side_by_side(drawn, ["R-FCN, this frame alone", "FGFA"])
