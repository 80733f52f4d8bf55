"""Reads image files and prepares them as network input."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from lib.dataset import jpeg
from lib.dataset.jpeg import check_size
from lib.errors import InputError, check_regular

_JPEG_START, _PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def read(path: str | os.PathLike) -> np.ndarray:
    """Reads an image as (H, W, 3) uint8 BGR. EXIF orientation is ignored, as in the published code, except in
    TIFF files, which OpenCV always turns.

    Raises InputError if the file is missing, unreadable or not an image, or a truncated JPEG or PNG, whose missing part
    OpenCV would fill with grey.
    """
    path = Path(path)
    try:
        check_regular(path)
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot read the image: {getattr(error, 'strerror', error)}") from error
    if not content:
        raise InputError(f"{path}: empty image file; download or create it again")
    if not _is_complete(content, path):
        raise InputError(f"{path}: truncated image; download or create it again")
    check_size(*_size(path, content), path)
    buffer = np.frombuffer(content, dtype=np.uint8)
    try:
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise InputError(f"{path}: OpenCV cannot decode this image ({error.err}); create it again") from error
    if image is None:
        raise InputError(f"{path}: not an image that OpenCV can decode; download or create it again")
    return image


def _size(path: Path, content: bytes) -> tuple[int, int]:
    """(width, height) from the header, before anything is decoded."""
    if content.startswith(_JPEG_START):
        size, _ = jpeg.frame_and_scan(content)
        if size is not None and 0 not in size:
            return size
    try:
        with header(io.BytesIO(content), path) as image:
            return image.size
    except InputError:
        raise
    except Exception as error:  # Pillow raises all kinds of errors on malformed files
        raise InputError(f"{path}: not an image that OpenCV can decode; download or create it again") from error


@contextlib.contextmanager
def header(file: BinaryIO, where: str | os.PathLike) -> Iterator[Image.Image]:
    """An image of which only the header is read. Raises InputError if it is far too large, or what Pillow does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes that `check_size` judges
        try:
            image = Image.open(file)
        except Image.DecompressionBombError as error:
            raise InputError(f"{where}: too large, {jpeg.LIMIT}; shrink it") from error
    with image:
        yield image


def _is_complete(content: bytes, path: Path) -> bool:
    """Whether a JPEG or PNG has its end marker. Other formats count as complete. Raises InputError as `check_scans`."""
    if content.startswith(_PNG_START):
        return b"IEND" in content[-32:]
    if not content.startswith(_JPEG_START):
        return True
    # An embedded thumbnail has an end marker too, so search from the first scan; scan data cannot contain the marker.
    _, scan = jpeg.frame_and_scan(content)
    if scan is None or content.find(jpeg.END, scan) < 0:
        return False
    jpeg.check_scans(content, scan, path)
    return True


def scale_of(height: int, width: int, short: int, long: int) -> float:
    """Factor that scales the short side to `short`, or the long side to `long` if it would otherwise exceed it."""
    shorter, longer = min(height, width), max(height, width)
    scale = short / shorter
    return long / longer if np.round(scale * longer) > long else scale


def prepare(
    image: np.ndarray,
    short: int,
    long: int,
    pixel_means_bgr: np.ndarray | tuple[float, ...],
    flip: bool = False,
    colours: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Network input from an image (H, W, 3) uint8 BGR, mirrored first if `flip` is set. colours: a matrix (3, 4) that
    changes the colours after resizing (`lib.dataset.augment`).

    Returns data (1, 3, h, w) float32, RGB minus the mean, and im_info (1, 3) float32 = h, w, scale. Resizing is
    bilinear; OpenCV samples by the scale factor, not by the ratio of the rounded sizes. Raises ValueError for an image
    of another shape or type, InputError if it is too thin to be resized.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if flip:
        image = image[:, ::-1]
    scale = scale_of(image.shape[0], image.shape[1], short, long)
    if np.round(scale * min(image.shape[:2])) < 1:
        raise InputError(f"image of {image.shape[1]}x{image.shape[0]} is too thin: resizing would leave no pixels")
    resized = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    if colours is not None:
        resized = cv2.transform(resized, colours)
    height, width = resized.shape[:2]
    data = np.empty((1, 3, height, width), dtype=np.float32)
    for channel in range(3):
        np.subtract(resized[:, :, 2 - channel], np.float32(pixel_means_bgr[2 - channel]), out=data[0, channel])
    return data, np.array([[height, width, scale]], dtype=np.float32)
