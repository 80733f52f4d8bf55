"""Drawing: boxes with labels, colour-coded flow, heat maps of weights, pictures side by side.

Images are BGR uint8 (H, W, 3); inputs are not modified. Class colours are (r, g, b), as in class lists. Line widths
and font sizes scale with the resolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lib.bbox.detections import Detections
from lib.dataset.classes import ClassList, default_colour

_GAP = 4  # pixels between pictures side by side


def draw(
    image: np.ndarray,
    detections: Detections,
    names: Sequence[str],
    colours: Sequence[tuple[int, int, int]] | None = None,
    *,
    threshold: float = 0.0,
    labels: bool = True,
    zoom: int = 1,
) -> np.ndarray:
    """Draw a box for every detection with a score of at least `threshold`.

    Labels read "name 0.98", or "#7 name 0.98" if tracked. names and colours belong to classes 1..C in order; colours
    default to `default_colour`. zoom: enlarges the image by this factor before drawing. A label is placed above its
    box, or inside or below it if there is no space, always within the image; higher scores are drawn on top.
    """
    detections = detections.above(threshold)
    picture = image.copy() if zoom == 1 else cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    height, width = picture.shape[:2]
    line = max(1, round(min(height, width) / 360))
    ascending = np.argsort(detections.scores, kind="stable")
    paint = [colours[c - 1] if colours is not None else default_colour(c) for c in detections.classes.tolist()]
    # Corners are inclusive pixels, and the far edge of a zoomed pixel lies zoom - 1 further.
    corners = np.rint(detections.boxes * zoom + (0, 0, zoom - 1, zoom - 1))
    corners = np.clip(corners, 0, (width - 1, height - 1, width - 1, height - 1)).astype(int).tolist()
    for i in ascending:
        x1, y1, x2, y2 = corners[i]
        cv2.rectangle(picture, (x1, y1), (x2, y2), paint[i][::-1], line)
    if labels:
        taken: list[tuple[int, int, int, int]] = []
        plates = []
        for i in ascending[::-1]:
            track = "" if detections.tracks is None else f"#{detections.tracks[i]} "
            text = f"{track}{names[detections.classes[i] - 1]} {detections.scores[i]:.2f}"
            plate = _plate(text, paint[i], _font_size(height, width), width)
            place = _place(plate.shape, corners[i], (height, width), line, taken)
            plates.append((place, plate))
            taken.append(place)
        for (x1, y1, x2, y2), plate in plates[::-1]:
            picture[y1:y2, x1:x2] = plate[: y2 - y1, : x2 - x1]
    return picture


def side_by_side(images: Sequence[np.ndarray], titles: Sequence[str] | None = None) -> np.ndarray:
    """The images in one row, scaled to the height of the tallest, each with its title in a bar above it."""
    height = max(image.shape[0] for image in images)
    columns = []
    for image in images:
        if image.shape[0] != height:
            wide = max(1, round(image.shape[1] * height / image.shape[0]))
            image = cv2.resize(image, (wide, height), interpolation=cv2.INTER_CUBIC)
        columns.append(image)
    if titles is not None:
        size = 3 + _font_size(height, max(image.shape[1] for image in columns))
        columns = [np.vstack([_title_bar(title, image.shape[1], size), image]) for title, image in zip(titles, columns)]
    gap = np.full((columns[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.hstack([part for column in columns for part in (gap, column)][1:])


def compare_boxes(
    image: np.ndarray, found: Mapping[str, Detections], classes: ClassList, threshold: float
) -> np.ndarray:
    """The image with the boxes of several detectors side by side, by title. Small images are enlarged."""
    zoom = max(1, 480 // image.shape[0])
    drawn = [
        draw(image, each, classes.names, classes.colours, threshold=threshold, zoom=zoom) for each in found.values()
    ]
    return side_by_side(drawn, list(found))


def flow_to_colour(flow: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Colour-code flow (2, h, w), channels x and y in any unit, as an image (h, w, 3).

    The hue is the direction, on the colour wheel of Baker et al., "A Database and Evaluation Methodology for Optical
    Flow": red is right, yellow is down. White is no motion. largest: the length with full saturation, by default the
    longest vector of this flow; longer vectors are darker, non-finite ones black.
    """
    finite = np.isfinite(flow).all(axis=0)
    x, y = np.where(finite, flow, 0.0).astype(np.float64)
    length = np.hypot(x, y)
    if largest is None:
        largest = length.max(initial=0.0)
    length = length / max(largest, 1e-9)
    # Steps around the wheel: red, yellow, green, cyan, blue, magenta, red. More where the eye separates more hues.
    stops = np.cumsum([0, 15, 6, 4, 11, 13, 6])
    rim = np.array([(255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255), (255, 0, 0)])
    position = np.arctan2(y, x) / (2 * np.pi) % 1.0 * stops[-1]
    bgr = np.stack([np.interp(position, stops, rim[:, channel]) for channel in (2, 1, 0)], axis=-1)
    inside = length[..., None]
    bgr = np.where(inside <= 1.0 + 1e-9, 255 - inside * (255 - bgr), bgr * 0.75)
    return np.where(finite[..., None], np.clip(np.rint(bgr), 0, 255), 0).astype(np.uint8)


def heat_map(image: np.ndarray, weight: np.ndarray, low: float = 0.0, high: float | None = None) -> np.ndarray:
    """Overlay `weight` (h, w) on the grey image: dark blue at `low`, red at `high` (by default its maximum).

    The weights may be on a coarser grid than the image, such as feature cells; they are resized to the image.
    """
    if high is None:
        high = float(weight.max(initial=low))
    colour = heat_to_colour(weight, low, high, image.shape[1::-1])
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return cv2.addWeighted(grey, 0.45, colour, 0.55, 0)


def heat_to_colour(weight: np.ndarray, low: float, high: float, size: Sequence[int] | None = None) -> np.ndarray:
    """`weight` (h, w) as an image (h, w, 3): dark blue at `low`, red at `high`. size: width and height to resize to."""
    level = np.clip((weight.astype(np.float32) - low) / max(high - low, 1e-9), 0, 1)
    if size is not None:
        level = cv2.resize(level, size, interpolation=cv2.INTER_LINEAR)
    return cv2.applyColorMap(np.rint(level * 255).astype(np.uint8), cv2.COLORMAP_TURBO)


def _font_size(height: int, width: int) -> int:
    return max(11, round(min(height, width) * 0.026))


def _place(
    shape: Sequence[int],
    box: Sequence[int],
    size: tuple[int, int],
    line: int,
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int, int, int]:
    """x1 y1 x2 y2 (exclusive ends) for a label of `shape` at `box`, inside the image.

    Avoids the labels in `taken` if possible.
    """
    high, wide = min(shape[0], size[0]), min(shape[1], size[1])
    x1, y1, x2, y2 = box
    left, right = x1 - line // 2, x2 + 1 + line // 2 - wide
    above, below = y1 - line // 2 - high, y2 + 1 + line // 2
    spots = [(left, above), (left, y1 + line), (left, below), (right, above), (right, y1 + line), (right, below)]
    best = None
    for x, y in spots:
        if y < 0 or y + high > size[0]:
            continue
        x = min(max(x, 0), size[1] - wide)
        spot = (x, y, x + wide, y + high)
        best = best or spot
        if not any(spot[0] < t[2] and t[0] < spot[2] and spot[1] < t[3] and t[1] < spot[3] for t in taken):
            return spot
    if best is None:
        x, y = min(max(left, 0), size[1] - wide), min(max(above, 0), size[0] - high)
        best = (x, y, x + wide, y + high)
    return best


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # always, if a size is given
    return font


@lru_cache(maxsize=256)  # a plate takes 30 kB in a 1080p video
def _plate(text: str, colour: tuple[int, int, int], size: int, room: int) -> np.ndarray:
    """The text on a plate of `colour`, as BGR: black or white by contrast, shrunk if wider than `room` pixels."""
    font, margin = _font(size), max(2, size // 5)
    while font.getlength(text) + 2 * margin > room and size > 7:
        size -= 1
        font = _font(size)
    ascent, descent = font.getmetrics()
    wide, high = int(np.ceil(font.getlength(text))) + 2 * margin, ascent + descent + margin // 2
    luminance = np.dot(colour, (0.299, 0.587, 0.114))
    plate = Image.new("RGB", (wide, high), tuple(colour))
    ink = (0, 0, 0) if luminance > 110 else (255, 255, 255)
    ImageDraw.Draw(plate).text((margin, margin // 4), text, font=font, fill=ink)
    result = np.asarray(plate)[:, :, ::-1].copy()
    result.setflags(write=False)
    return result


def _title_bar(title: str, width: int, size: int) -> np.ndarray:
    """A white bar `width` pixels wide with the title centred. Its height depends only on the font size `size`."""
    plate = _plate(title, (255, 255, 255), size, width)
    bar = np.full((_plate("", (255, 255, 255), size, width).shape[0] + 4, width, 3), 255, np.uint8)
    wide = min(width, plate.shape[1])
    left, top = (width - wide) // 2, (bar.shape[0] - plate.shape[0]) // 2
    bar[top : top + plate.shape[0], left : left + wide] = plate[:, :wide]
    return bar
