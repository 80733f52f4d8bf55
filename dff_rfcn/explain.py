"""Images that show how Deep Feature Flow processes a frame: its key frame, the flow to it, the scale map."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from easydict import EasyDict

from dff_rfcn.detector import Inside
from lib.method import Layer
from lib.video.drawing import flow_to_colour, heat_map, heat_to_colour, side_by_side


def span(cfg: EasyDict, position: int) -> tuple[int, int]:
    """From the key frame of a frame to that frame."""
    return position - position % cfg.TEST.KEY_FRAME_INTERVAL, position + 1


def layers(details: Inside) -> list[Layer]:
    """The flow to the key frame, and the mean of the scale map over channels.

    Colours are those of `sheet`, but flow shorter than one cell is not fully saturated.
    """
    scale = details.scale.mean(axis=0)
    low, high = float(scale.min()), float(scale.max())
    longest = float(np.hypot(*details.flow).max())
    return [
        Layer("flow", details.key, flow_to_colour(details.flow, max(longest, 1.0)), f"up to {longest:.1f} cells"),
        Layer("scale", details.key, heat_to_colour(scale, low, high), f"{low:.2f} to {high:.2f}"),
    ]


def sheet(details: Inside, images: Sequence[np.ndarray]) -> np.ndarray:
    """The key frame and the age of its features, the frame, the flow from it to the key frame, the scale map.

    The flow is on the colour wheel of Baker et al., where full saturation is the longest flow; the scale map's mean
    over channels is a heat map from its smallest to its largest value.
    """
    key, image = images[details.key], images[details.frame]
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
