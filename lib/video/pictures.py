"""Writes annotated frames to image files, and small animations of clips."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from lib.dataset.image import read
from lib.errors import InputError
from lib.files import replacing
from lib.video.records import Result

# No chroma subsampling, which would turn thin coloured lines grey.
_JPEG = (
    cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
)  # fmt: skip
_QUALITY = {".jpg": _JPEG, ".jpeg": _JPEG, ".webp": (cv2.IMWRITE_WEBP_QUALITY, 95)}


def write_picture(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write a BGR uint8 image atomically, in the format given by the suffix.

    Raises InputError if OpenCV cannot write this format or image, and OSError if the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    try:
        good, data = cv2.imencode(suffix, image, _QUALITY.get(suffix, ()))
    except cv2.error as error:
        raise InputError(f"{path}: OpenCV cannot write this format: {error.err}") from error
    if not good:
        raise InputError(f"{path}: OpenCV cannot write a {image.shape[1]}x{image.shape[0]} image in this format")
    with replacing(path, durable=False) as temporary:
        temporary.write_bytes(data.tobytes())


class PictureFolder:
    """Writes every frame as an image file under the frame's name."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self.path = Path(folder)

    def finished(self) -> None:
        """None: image files do not record which run wrote them."""

    def start(self, kept: Sequence[tuple[int, str]]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)

    def write(self, result: Result) -> None:
        write_picture(self.path / result.name, result.picture)

    def close(self) -> None:
        """Nothing to do: every image is complete once written."""


def animate(
    pictures: Sequence[Path], path: str | os.PathLike, fps: float, *, max_frames: int = 100, max_size: int = 640
) -> None:
    """Write a looping GIF or WebP (chosen by suffix) of image files at `fps` frames per second.

    To limit memory and file size, frames of longer clips are skipped to leave `max_frames` at the same speed, and
    images are shrunk to at most `max_size` pixels. Raises InputError if an image cannot be read.
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
    # GIF delays are in 1/100 s, and viewers slow down GIFs with delays below 20 ms.
    wait = max(20, round(100 * step / fps) * 10)
    with replacing(path) as temporary:
        options: dict[str, Any] = {} if gif else {"quality": 80, "method": 2}
        frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=wait, loop=0, **options)


def _of_256_colours(frame: Image.Image) -> Image.Image:
    """Dither to an octree palette, which preserves the boxes' colours and is ten times as fast as median cut."""
    return frame.quantize(palette=frame.quantize(256, Image.Quantize.FASTOCTREE))
