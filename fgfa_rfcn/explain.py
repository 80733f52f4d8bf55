"""Images that show how FGFA processes a frame: flow to its neighbours, their weights, boxes with and without them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from easydict import EasyDict

from fgfa_rfcn.window import Inside, VideoDetector
from lib.dataset.classes import ClassList
from lib.video.clips import Clip
from lib.video.drawing import compare_boxes, flow_to_colour, heat_map, side_by_side
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
    saturation is the longest flow of the window), and its weight as a heat map from 0 to the largest weight. The
    second shows the boxes of `baseline`, which uses only this frame, next to FGFA's.
    """
    watched: list[Inside] = []
    detector = VideoDetector.load(cfg, weights, batch=1, watch=watched.append)
    reach, written = cfg.TEST.KEY_FRAME_INTERVAL, []
    for position in positions:
        first = max(0, position - reach)
        frames = list(clip.part(first, position + reach + 1))
        watched.clear()
        found = list(detector(frame.image for frame in frames))[position - first]
        details, frame = watched[position - first], frames[position - first]
        (single,) = baseline([frame.image])
        name = Path(frame.name).stem
        images = {
            f"{name}_window.png": _sheet(details, [each.image for each in frames], first),
            f"{name}_boxes.png": compare_boxes(
                frame.image, {"R-FCN, this frame only": single, "FGFA": found}, classes, threshold
            ),
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
