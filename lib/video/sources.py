"""Sources of frames: image files, video files, streams and cameras."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np

from lib.dataset import image as pictures
from lib.dataset.media import decoded, opened
from lib.errors import InputError

LOWEST_RATE, HIGHEST_RATE = 0.1, 1000  # frames per second; a damaged header may say anything


@dataclass(frozen=True)
class Frame:
    """One frame. index: its number in the source, from 0; name: of its output image; image: BGR uint8 (H, W, 3)."""

    index: int
    name: str
    image: np.ndarray


@dataclass(frozen=True)
class PictureFiles:
    """Image files of one folder, in order."""

    paths: Sequence[Path]
    fps: float | None = None
    live: bool = False

    @property
    def where(self) -> str:
        return str(self.paths[0] if len(self.paths) == 1 else self.paths[0].parent)

    @property
    def length(self) -> int:
        return len(self.paths)

    def name_of(self, index: int) -> str:
        return self.paths[index].name

    def read(self, wanted: range) -> Iterator[Frame]:
        """Yield the frames with the numbers `wanted`. Raises InputError if an image cannot be read."""
        for index in wanted:
            yield Frame(index, self.paths[index].name, pictures.read(self.paths[index]))


@dataclass(frozen=True)
class VideoStream:
    """A video file or the URL of a stream."""

    where: str
    fps: float | None
    length: int | None  # from the header, None if that does not say how many frames are shown
    live: bool

    @classmethod
    def probe(cls, where: str) -> VideoStream:
        """Read the header. Raises InputError if there is no video that can be decoded."""
        with opened(where) as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            return cls(
                where=where,
                fps=float(rate) if rate and LOWEST_RATE <= rate <= HIGHEST_RATE else None,
                length=_shown(stream),
                live=where.startswith(("rtsp:", "rtmp:", "udp:", "rtp:"))
                or ("://" in where and not container.duration),
            )

    def name_of(self, index: int) -> str:
        return f"{index:06d}.jpg"

    def read(self, wanted: range) -> Iterator[Frame]:
        """Yield the frames with the numbers `wanted`, decoding all frames in order.

        Raises InputError if the data is broken or has fewer frames than the header says.
        """
        index = -1
        with opened(self.where) as container:
            for index, image in enumerate(decoded(container, self.where)):
                if index >= wanted.stop:
                    return
                if index in wanted:
                    yield Frame(index, self.name_of(index), image)
        if self.length is not None and index + 1 < min(self.length, wanted.stop):
            raise InputError(
                f"{self.where}: broken or truncated: the header says {self.length} frames, but only {index + 1} exist"
            )


def _shown(stream: av.VideoStream) -> int | None:
    """The number of frames in the header; None if it has none, or more than its duration has room for.

    A video that was trimmed without encoding it again also stores frames that are only decoded, not shown.
    """
    rate, duration, base = stream.average_rate, stream.duration, stream.time_base
    trimmed = rate and duration and base and round(duration * base * rate) < stream.frames
    return stream.frames if stream.frames > 0 and not trimmed else None


@dataclass
class Camera:
    """A local camera, by number. Raises InputError if it cannot be opened."""

    number: int
    fps: float | None = None
    length: int | None = None
    live: bool = True
    where: str = field(init=False)

    def __post_init__(self) -> None:
        self.where = f"camera {self.number}"
        with self._opened() as camera:
            self.fps = camera.get(cv2.CAP_PROP_FPS) or None

    def name_of(self, index: int) -> str:
        return f"{index:06d}.jpg"

    def read(self, wanted: range) -> Iterator[Frame]:
        """Yield frames as they arrive. Raises InputError when the camera delivers no more."""
        with self._opened() as camera:
            for index in range(wanted.stop):
                good, image = camera.read()
                if not good:
                    raise InputError(f"{self.where}: no more frames after the first {index}")
                if index in wanted:
                    yield Frame(index, self.name_of(index), image)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[cv2.VideoCapture]:
        camera = cv2.VideoCapture(self.number)
        try:
            if not camera.isOpened():
                raise InputError(f"{self.where}: no such camera, or another program is using it")
            yield camera
        finally:
            camera.release()
