"""Images that show how Deep Feature Flow processes a frame: its key frame, the flow to it, the scale map, the boxes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from easydict import EasyDict

from dff_rfcn.detector import Inside, KeyFrameDetector
from lib.dataset.classes import ClassList
from lib.errors import InputError
from lib.video.clips import Clip
from lib.video.drawing import compare_boxes, flow_to_colour, heat_map, side_by_side
from lib.video.pictures import write_picture
from lib.video.stream import Detector

log = logging.getLogger(__name__)


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
    """Writes <name>_key.png and <name>_boxes.png to `folder` for each frame in `positions`.

    The first image shows the key frame and the age of its features, the frame, the flow from it to the key frame (on
    the colour wheel of Baker et al., where full saturation is the longest flow), and the scale map's mean over channels
    as a heat map from its smallest to its largest value. The second shows the boxes of `baseline`, which uses only this
    frame, next to those of this method. Raises InputError if a position is past the end of the clip.
    """
    watched: list[Inside] = []
    detector = KeyFrameDetector.load(cfg, weights, batch=1, watch=watched.append)
    written = []
    for position in positions:
        first = position - position % cfg.TEST.KEY_FRAME_INTERVAL
        frames = list(clip.part(first, position + 1))
        if first + len(frames) <= position:
            raise InputError(f"--explain {position}: the clip has only {first + len(frames)} frames")
        watched.clear()
        *_, found = detector(frame.image for frame in frames)
        (single,) = baseline([frames[-1].image])
        name = Path(frames[-1].name).stem
        images = {
            f"{name}_key.png": _sheet(watched[-1], frames[0].image, frames[-1].image),
            f"{name}_boxes.png": compare_boxes(
                frames[-1].image, {"R-FCN, this frame only": single, "DFF": found}, classes, threshold
            ),
        }
        for file, image in images.items():
            write_picture(folder / file, image)
            written.append(folder / file)
    log.info("wrote %s", ", ".join(map(str, written)))
    return written


def _sheet(details: Inside, key: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The key frame, the frame, the flow between them, the scale map."""
    age = details.frame - details.key
    size = image.shape[1::-1]
    longest = float(np.hypot(*details.flow).max())
    colours = cv2.resize(flow_to_colour(details.flow), size, interpolation=cv2.INTER_NEAREST)
    scale = details.scale.mean(axis=0)
    low, high = float(scale.min()), float(scale.max())
    columns: dict[str, np.ndarray] = {
        f"key frame, {age} before" if age else "key frame": key,
        "this frame": image,
        f"flow, up to {longest:.1f} cells": colours,
        f"scale, {low:.2f} to {high:.2f}": heat_map(image, scale, low, high),
    }
    return side_by_side(list(columns.values()), list(columns))
