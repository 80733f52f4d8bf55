"""Images that show how FGFA processes a frame: the frames of its window, the flow to them, their weights."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from easydict import EasyDict

from fgfa_rfcn.schedule import Schedule
from fgfa_rfcn.window import Inside
from lib.method import Layer
from lib.video.drawing import flow_to_colour, heat_map, heat_to_colour, side_by_side

COLUMNS = 7  # neighbours per row of the sheet


def span(cfg: EasyDict, position: int) -> tuple[int, int]:
    """All frames that the features of a frame come from; with key frames, the first one is a key frame."""
    schedule = Schedule.of(cfg.TEST)
    return position - schedule.replay(position), schedule.needs(position) + 1


def layers(details: Inside) -> list[Layer]:
    """The flow from a frame to each frame of its window, and the weight of that frame.

    Colours are those of `sheet`, but each flow is fully saturated at its longest vector, or at one cell if that is
    shorter. Where the window repeats a frame, its weights are added up.
    """
    frames = np.unique(details.window)
    flows = [details.flow[details.window == number][0] for number in frames]
    weights = [details.weights[details.window == number].sum(axis=0) for number in frames]
    heaviest = max(float(weight.max()) for weight in weights)
    found = []
    for number, flow, weight in zip(frames.tolist(), flows, weights):
        longest = float(np.hypot(*flow).max())
        found.append(Layer("flow", number, flow_to_colour(flow, max(longest, 1.0)), f"up to {longest:.1f} cells"))
        values = f"{weight.min():.2f} to {weight.max():.2f}"
        found.append(Layer("weight", number, heat_to_colour(weight, 0.0, heaviest), values))
    return found


def sheet(details: Inside, images: Sequence[np.ndarray]) -> np.ndarray:
    """Blocks of COLUMNS frames of the window: the image, the flow to it, its weight.

    Between key frames, the window consists of the key frames around. Flows are on the colour wheel of Baker et al.,
    where full saturation is the longest flow of the window; weights are a heat map from 0 to the largest weight.
    """
    longest = float(np.hypot(details.flow[:, 0], details.flow[:, 1]).max())
    heaviest = float(details.weights.max())
    columns = []
    for number, motion, weight in zip(details.window, details.flow, details.weights):
        image = images[number]
        size = image.shape[1::-1]
        colours = cv2.resize(flow_to_colour(motion, longest), size, interpolation=cv2.INTER_NEAREST)
        column = np.vstack([image, colours, heat_map(image, weight, 0.0, heaviest)])
        title = f"{number - details.frame:+d}" if number != details.frame else "this frame"
        columns.append(side_by_side([column], [title]))
    while len(columns) % COLUMNS and len(columns) > COLUMNS:
        columns.append(np.full_like(columns[0], 255))
    blocks = [side_by_side(columns[start : start + COLUMNS]) for start in range(0, len(columns), COLUMNS)]
    return np.vstack(blocks)
