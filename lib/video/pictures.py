"""Annotated frames as picture files, and a small animated picture of a clip."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lib.dataset.image import read
from lib.errors import InputError
from lib.files import replacing
from lib.video.records import Result

# Full colour resolution: thin coloured lines go grey without it.
_JPEG = (
    cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
)  # fmt: skip
_QUALITY = {".jpg": _JPEG, ".jpeg": _JPEG, ".webp": (cv2.IMWRITE_WEBP_QUALITY, 95)}


def write_picture(path: str | os.PathLike, image: np.ndarray) -> None:
    """Writes BGR uint8 in the format of the suffix; readers never see half of it. Raises InputError, OSError."""
    path = Path(path)
    suffix = path.suffix.lower()
    try:
        good, data = cv2.imencode(suffix, image, _QUALITY.get(suffix, ()))
    except cv2.error as error:
        raise InputError(f"{path}: OpenCV writes no picture of this kind: {error.err}") from error
    if not good:
        raise InputError(f"{path}: OpenCV cannot write a picture of {image.shape[1]}x{image.shape[0]} in this format")
    with replacing(path) as temporary:
        temporary.write_bytes(data)


class PictureFolder:
    """Every frame as a picture under its own name."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self.path = Path(folder)

    def finished(self) -> None:
        """A picture does not tell which run made it."""

    def start(self, kept: Sequence[tuple[int, str]]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)

    def write(self, result: Result) -> None:
        write_picture(self.path / result.name, result.picture)

    def close(self) -> None:
        """Each picture is whole as soon as it is written."""


def animate(
    pictures: Sequence[Path], path: str | os.PathLike, fps: float, *, max_frames: int = 100, max_size: int = 640
) -> None:
    """Writes a GIF or WebP, by the suffix, that repeats the pictures at `fps` frames a second.

    Longer clips are thinned to `max_frames` at the same pace, larger pictures shrunk to `max_size`, so that memory
    and file stay small. Raises InputError where a picture cannot be read.
    """
    step = -(-len(pictures) // max_frames)
    frames: list[Image.Image] = []
    size = None
    gif = Path(path).suffix.lower() == ".gif"
    for picture in pictures[::step]:
        frame = Image.fromarray(read(picture)[:, :, ::-1])
        if size is None:
            scale = min(1.0, max_size / max(frame.size))
            size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
        frame = frame.resize(size, Image.Resampling.LANCZOS) if frame.size != size else frame
        frames.append(_of_256_colours(frame) if gif else frame)
    # Viewers slow down a GIF of less than 20 ms a frame, so the beat is told in whole hundredths, not under two.
    wait = max(20, round(100 * step / fps) * 10)
    with replacing(path) as temporary:
        options = {} if gif else {"quality": 80, "method": 2}
        frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=wait, loop=0, **options)


def _of_256_colours(frame: Image.Image) -> Image.Image:
    """Octree colours, then dithering with them: keeps the boxes' colours, ten times as fast as median cut."""
    return frame.quantize(palette=frame.quantize(256, Image.Quantize.FASTOCTREE))
