"""Images: from a file to the input of a network."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from lib.errors import InputError

_JPEG_START, _PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def read(path: str | os.PathLike) -> np.ndarray:
    """A picture as (H, W, 3) uint8 BGR, its EXIF orientation ignored as the published code does.

    Raises InputError for a missing or unreadable file, one that is no picture, and a JPEG or PNG whose end is
    missing, which OpenCV would return with a grey rest.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read the image: {error.strerror}") from error
    if not content:
        raise InputError(f"{path}: the image file is empty; fetch or make it again")
    if not _is_complete(content):
        raise InputError(f"{path}: broken image, its end is missing; fetch or make it again")
    buffer = np.frombuffer(content, dtype=np.uint8)
    try:
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise InputError(f"{path}: broken image, OpenCV cannot decode it ({error.err}); make it again") from error
    if image is None:
        raise InputError(f"{path}: not an image that OpenCV can decode; fetch or make it again")
    return image


def _is_complete(content: bytes) -> bool:
    """Whether a JPEG or PNG has its end marker; other formats count as complete."""
    if content.startswith(_PNG_START):
        return b"IEND" in content[-32:]
    if not content.startswith(_JPEG_START):
        return True
    # An embedded thumbnail has end markers too, so look behind the headers: walk the segments to the first scan.
    # Inside a scan the two bytes of the marker cannot occur.
    position = 2
    while position + 4 <= len(content):
        if content[position] != 0xFF:
            return False
        marker = content[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0xDA:
            return content.rfind(b"\xff\xd9", position) >= 0
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return False


def scale_of(height: int, width: int, short: int, long: int) -> float:
    """Factor that brings the short side to `short`, or the long side to `long` where it would become longer."""
    shorter, longer = min(height, width), max(height, width)
    scale = short / shorter
    return long / longer if np.round(scale * longer) > long else scale


def prepare(
    image: np.ndarray, short: int, long: int, pixel_means_bgr: np.ndarray | tuple[float, ...], flip: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Network input from a picture (H, W, 3) uint8 BGR, mirrored first where `flip`.

    Returns data (1, 3, h, w) float32, RGB minus the mean, and im_info (1, 3) float32 = h, w, scale. Bilinear;
    OpenCV samples by the factor, not by the ratio of the rounded sizes. Raises ValueError for another image type,
    InputError for a picture too thin to be resized.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if flip:
        image = image[:, ::-1]
    scale = scale_of(image.shape[0], image.shape[1], short, long)
    if np.round(scale * min(image.shape[:2])) < 1:
        raise InputError(f"a picture of {image.shape[1]}x{image.shape[0]} is too thin: resized, no row would be left")
    resized = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    height, width = resized.shape[:2]
    data = np.empty((1, 3, height, width), dtype=np.float32)
    for channel in range(3):
        np.subtract(resized[:, :, 2 - channel], np.float32(pixel_means_bgr[2 - channel]), out=data[0, channel])
    return data, np.array([[height, width, scale]], dtype=np.float32)
