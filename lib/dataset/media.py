"""Image and video files: known suffixes, natural sort order, opening a video."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import av
import numpy as np

from lib.errors import InputError

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".gif")
# FFmpeg "plays" text files as terminal art; nobody who passes one means that.
_NO_VIDEO_FORMATS = {"tty", "bin", "xbin", "idf", "adf"}


def natural_key(text: str) -> tuple:
    """Sort key for natural order: frame2 before frame10, 000002 before 000010."""
    parts = re.split(r"(\d+)", text)
    return tuple((int(part), "") if i % 2 else (0, part.casefold()) for i, part in enumerate(parts)), text


@contextlib.contextmanager
def opened(where: str) -> Iterator[av.container.InputContainer]:
    """Opens a video file or stream address. Raises InputError if it has no video that can be decoded."""
    options = {"rtsp_transport": "tcp"} if where.startswith("rtsp:") else {}
    try:
        container = av.open(where, options=options, timeout=(10.0, 20.0) if "://" in where else None)
    except av.error.FFmpegError as error:
        reason = "not a video or picture" if isinstance(error, av.error.InvalidDataError) else error.strerror
        raise InputError(f"{where}: cannot be opened: {reason}") from error
    with container:
        if not container.streams.video or container.format.name in _NO_VIDEO_FORMATS:
            raise InputError(f"{where}: cannot be opened: not a video or picture")
        yield container


def upright(frame: av.VideoFrame) -> np.ndarray:
    """The frame as BGR uint8 (H, W, 3), rotated as the file's metadata says (phones store portrait videos sideways)."""
    image = frame.to_ndarray(format="bgr24")
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image
