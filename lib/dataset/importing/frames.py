"""Frames of a video that is imported: picture files, or a film that is decoded; written as %06d.JPEG."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from lib.dataset.image import read
from lib.dataset.jpeg import jpeg_size
from lib.dataset.media import PICTURES, VIDEOS, natural_key, opened, upright
from lib.errors import InputError

JPEG_START = b"\xff\xd8\xff"
ORIENTATION = 0x0112  # EXIF
HEAD = 1 << 16  # bytes that hold a JPEG's EXIF segment, where it has one
HOW = ("symlink", "hardlink", "copy", "encode")


@dataclass(frozen=True)
class Writing:
    """How frames get into the dataset: JPEG files by `how` (one of HOW), anything else encoded at `quality`."""

    how: str = "symlink"
    quality: int = 95


@dataclass(frozen=True)
class Pictures:
    """A video as picture files in order; frame k is paths[k]. Pictures are taken as they look, EXIF turns included."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def where(self) -> str:
        """The place, for messages."""
        return str(self.paths[0].parent)

    @functools.cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) of every frame, upright. InputError: one that is missing, broken, or no picture."""
        return [_size(path)[:2] for path in self.paths]

    def size(self, frame: int) -> tuple[int, int]:
        """(width, height) of frame `frame`."""
        return self.sizes[frame]

    def write(self, folder: Path, writing: Writing) -> Iterator[tuple[int, tuple[int, int]]]:
        """Puts the frames into `folder` one by one, yielding (frame, (width, height)) of each."""
        for frame, path in enumerate(self.paths):
            width, height, plain = _size(path)
            target = folder / f"{frame:06d}.JPEG"
            if plain and writing.how != "encode":
                _place(path, target, writing.how)
            else:
                _encode(_decoded(path), target, writing.quality)
            yield frame, (width, height)


@dataclass(frozen=True)
class Film:
    """A video file; `wanted`: the numbers of the frames to take, increasing, from 0 (None: all)."""

    path: Path
    wanted: tuple[int, ...] | None = None

    @property
    def where(self) -> str:
        """The place, for messages."""
        return str(self.path)

    @functools.cached_property
    def _first_size(self) -> tuple[int, int]:
        for frame in self._frames():
            return frame.shape[1], frame.shape[0]
        raise InputError(f"{self.path}: no frame can be decoded; give a film that plays")

    def size(self, frame: int) -> tuple[int, int]:
        """(width, height), upright; one for the whole film."""
        return self._first_size

    def write(self, folder: Path, writing: Writing) -> Iterator[tuple[int, tuple[int, int]]]:
        """As `Pictures.write`: the wanted frames, numbered anew from 0.

        InputError: broken data, a wanted frame beyond the end, a frame of another size.
        """
        wanted = None if self.wanted is None else set(self.wanted)
        place = count = 0
        for number, image in enumerate(self._frames()):
            count = number + 1
            if wanted is not None and number not in wanted:
                continue
            if image.shape[1::-1] != self._first_size:
                raise InputError(f"{self.path}: frame {number} has another size than the first; cut the film there")
            _encode(image, folder / f"{place:06d}.JPEG", writing.quality)
            yield place, self._first_size
            place += 1
            if wanted is not None and place == len(wanted):
                return
        if wanted is not None and place < len(wanted):
            raise InputError(
                f"{self.path}: has {count} frames, but the annotations go on to frame {self.wanted[-1]} (from 0); give "
                "the film that was annotated"
            )

    def _frames(self) -> Iterator[np.ndarray]:
        with opened(str(self.path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            try:
                for frame in container.decode(video=0):
                    yield upright(frame)
            except av.error.FFmpegError as error:
                raise InputError(f"{self.path}: broken: {error.strerror}; re-encode or cut it") from error


def find_film(root: Path, name: str) -> Path | None:
    """The film root/<name>, or root/<name>.mp4 or another video suffix; None: there is none."""
    candidates = [root / name] if Path(name).suffix.lower() in VIDEOS else []
    candidates += [root / f"{name}{each}" for suffix in VIDEOS for each in (suffix, suffix.upper())]
    return next((path for path in candidates if path.is_file()), None)


def find_media(root: Path, names: Sequence[str], where: str) -> Path:
    """The folder of pictures or the film of a video, below `root`, by one of the `names` it may have.

    InputError: nothing there has such a name; `where` says what asked for it.
    """
    names = [name for name in dict.fromkeys(names) if name]
    for name in names:
        found = root / name if (root / name).is_dir() else find_film(root, name)
        if found is not None:
            return found
    raise InputError(f"{where}: neither a folder of pictures nor a film {' or '.join(names)} in {root}; put it there")


def pictures_in(folder: Path, order: str = "natural") -> list[Path]:
    """The picture files of a folder; order "natural" (2 before 10) or "name" (character by character).

    InputError: no such folder, no picture in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of the frames")
    found = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith(".")]
    if not found:
        raise InputError(f"{folder}: no pictures in it ({' '.join(PICTURES)}); give the folder of the frames")
    return sorted(found, key=(lambda path: natural_key(path.name)) if order == "natural" else (lambda path: path.name))


def _size(path: Path) -> tuple[int, int, bool]:
    """(width, height, whether it is a JPEG that shows as it is stored), upright."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); put the picture there") from error
    if head.startswith(JPEG_START) and b"Exif\0\0" not in head:
        return (*jpeg_size(path), True)
    try:
        with Image.open(path) as image:
            (width, height), turned = image.size, image.getexif().get(ORIENTATION, 1)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: not a picture that can be read; fetch or make it again") from error
    if head.startswith(JPEG_START):
        width, height = jpeg_size(path)
    if turned in (5, 6, 7, 8):
        width, height = height, width
    return width, height, head.startswith(JPEG_START) and turned == 1


def _decoded(path: Path) -> np.ndarray:
    """BGR uint8 (H, W, 3), turned as EXIF says."""
    read(path)  # refuses what is cut short
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)


def _encode(image: np.ndarray, target: Path, quality: int) -> None:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    target.write_bytes(data.tobytes())


def _place(path: Path, target: Path, how: str) -> None:
    if how == "symlink":
        target.symlink_to(path.resolve())
    elif how == "copy":
        shutil.copyfile(path, target)
    else:
        try:
            os.link(path.resolve(), target)
        except OSError as error:
            raise InputError(f"{path}: cannot be hard-linked ({error.strerror}); use --pictures copy") from error
