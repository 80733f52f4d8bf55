"""Frames of an imported video: image files, or a video file that is decoded. They are written as %06d.JPEG."""

from __future__ import annotations

import functools
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lib.dataset.image import header, read
from lib.dataset.jpeg import check_size, jpeg_size
from lib.dataset.media import PICTURES, VIDEOS, decoded, natural_key, opened
from lib.errors import InputError, check_regular
from lib.reading import foreign, inside

JPEG_START = b"\xff\xd8\xff"
ORIENTATION = 0x0112  # EXIF
TRANSPOSED = (5, 6, 7, 8)  # orientations whose rows are stored as columns
FLIPPED = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # OpenCV's code for mirroring, after transposing
HEAD = 1 << 16  # bytes at the start of a JPEG file that contain its EXIF segment, if there is one
HOW = ("symlink", "hardlink", "copy", "encode")


@dataclass(frozen=True)
class Writing:
    """How frames get into the dataset: JPEG files by `how` (one of HOW), others encoded at `quality` (1..100)."""

    how: str = "symlink"
    quality: int = 95


@dataclass(frozen=True)
class ImageFiles:
    """A video as image files in order; frame k is paths[k]. EXIF orientation is applied."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def where(self) -> str:
        """The folder, for messages."""
        return str(self.paths[0].parent)

    @functools.cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) of every frame, upright. Raises InputError if a file is missing, broken or not an image."""
        return [_header(path)[:2] for path in self.paths]

    def size(self, frame: int) -> tuple[int, int]:
        """(width, height) of frame `frame`."""
        return self.sizes[frame]

    def write(self, folder: Path, writing: Writing) -> Iterator[tuple[int, tuple[int, int]]]:
        """Writes the frames to `folder` one by one and yields (frame, (width, height)) of each."""
        for frame, path in enumerate(self.paths):
            width, height, orientation, is_jpeg = _header(path)
            target = folder / f"{frame:06d}.JPEG"
            if is_jpeg and orientation == 1 and writing.how != "encode":
                _place(path, target, writing.how)
            else:
                _encode(_upright(read(path), orientation), target, writing.quality)
            yield frame, (width, height)


@dataclass(frozen=True)
class VideoFile:
    """A video file. wanted: numbers of the frames to import, from 0, increasing; None for all."""

    path: Path
    wanted: tuple[int, ...] | None = None

    @property
    def where(self) -> str:
        """The file, for messages."""
        return str(self.path)

    @functools.cached_property
    def _first_size(self) -> tuple[int, int]:
        for frame in self._frames():
            return frame.shape[1], frame.shape[0]
        raise InputError(f"{self.path}: no frame can be decoded; give a video file that plays")

    def size(self, frame: int) -> tuple[int, int]:
        """(width, height), upright, the same for all frames."""
        return self._first_size

    def write(self, folder: Path, writing: Writing) -> Iterator[tuple[int, tuple[int, int]]]:
        """As `ImageFiles.write`, for the wanted frames, renumbered from 0.

        Raises InputError if data is broken, a wanted frame is beyond the end, or the frame size changes.
        """
        wanted = None if self.wanted is None else set(self.wanted)
        place = count = 0
        for number, image in enumerate(self._frames()):
            count = number + 1
            if wanted is not None and number not in wanted:
                continue
            if image.shape[1::-1] != self._first_size:
                raise InputError(f"{self.path}: frame {number} differs in size from the first; split the video there")
            _encode(image, folder / f"{place:06d}.JPEG", writing.quality)
            yield place, self._first_size
            place += 1
            if wanted is not None and place == len(wanted):
                return
        if wanted is not None and place < len(wanted):
            raise InputError(
                f"{self.path}: has {count} frames, but the annotations go up to frame {max(wanted)} (from 0); give "
                "the video that was annotated"
            )

    def _frames(self) -> Iterator[np.ndarray]:
        with opened(str(self.path)) as container:
            yield from decoded(container, str(self.path))


def find_video_file(root: Path, name: str) -> Path | None:
    """The video file root/<name>, or root/<name> with .mp4 or another video suffix; None if there is none."""
    candidates = [root / name] if Path(name).suffix.lower() in VIDEOS else []
    candidates += [root / f"{name}{each}" for suffix in VIDEOS for each in (suffix, suffix.upper())]
    return next((path for path in candidates if path.is_file()), None)


def find_media(root: Path, names: Sequence[str], where: str) -> Path:
    """The image folder or video file of a video in `root`, which may have any of `names`.

    where: the annotation that refers to it, for messages. Raises InputError if nothing there has one of the names, or
    there is no such folder.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that contains the videos")
    names = [name for name in dict.fromkeys(names) if name]
    for name in names:
        inside(root, name, where)
        found = root / name if (root / name).is_dir() else find_video_file(root, name)
        if found is not None:
            return found
    raise InputError(f"{where}: no image folder or video file named {' or '.join(names)} in {root}; put it there")


def images_in(folder: Path, order: str = "natural") -> list[Path]:
    """The image files of a folder, sorted in "natural" order (2 before 10) or by "name" (character by character).

    Raises InputError if the folder does not exist or contains no images.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of the frames")
    found = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith(".")]
    if not found:
        raise InputError(f"{folder}: contains no images ({' '.join(PICTURES)}); give the folder of the frames")
    return sorted(found, key=(lambda path: natural_key(path.name)) if order == "natural" else (lambda path: path.name))


def has_images(folder: Path) -> bool:
    """Whether `folder` is a folder that contains images."""
    try:
        return bool(images_in(folder))
    except InputError:
        return False


def number_in(name: str) -> int | None:
    """The frame number at the end of a file's name without its suffix; None if there is none."""
    digits = re.search(r"(\d{1,9})$", Path(name).stem)
    return int(digits.group(1)) if digits else None


def numbered_images(folder: Path, numbers: Sequence[int], where: str) -> list[Path]:
    """The images of `folder` that are the frames `numbers`, by the numbers at the end of their names.

    If frame 0 is among them and the images are numbered from 1, image k is frame k - 1. where: the annotations that
    refer to them, for messages. Raises InputError if a frame has no image or two images have the same number.
    """
    found: dict[int, Path] = {}
    for path in images_in(folder):
        number = number_in(path.name)
        if number is not None and found.setdefault(number, path) != path:
            raise InputError(f"{path}: same frame number as {found[number]}; rename or remove one")
    shift = int(0 in numbers and min(found, default=0) == 1)
    for number in numbers:
        if number + shift not in found:
            raise InputError(f"{where}: frame {number}, but {folder} has no image of that number; add it")
    return [found[number + shift] for number in numbers]


def _header(path: Path) -> tuple[int, int, int, bool]:
    """(width, height) of the upright image, its EXIF orientation (1: stored upright), and whether it is a JPEG file.

    OpenCV and Pillow turn TIFF images when they read them, so that their orientation is 1 here.
    """
    with foreign(path, "cannot be read", "add the image"):
        check_regular(path)
        with open(path, "rb") as file:
            head = file.read(HEAD)
    is_jpeg = head.startswith(JPEG_START)
    if is_jpeg and b"Exif\0\0" not in head:
        return (*jpeg_size(path), 1, True)
    problem = foreign(path, "not a readable image", "download or create it again")
    with problem, open(path, "rb") as file, header(file, path) as image:
        width, height = image.size
        check_size(width, height, path)
        orientation = image.getexif().get(ORIENTATION, 1) if image.format != "TIFF" else 1
    if is_jpeg:
        width, height = jpeg_size(path)
    if orientation in TRANSPOSED:
        width, height = height, width
    return width, height, orientation, is_jpeg


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """An image (H, W, 3), turned and mirrored as its EXIF orientation says. Unknown values count as upright."""
    if orientation in TRANSPOSED:
        image = cv2.transpose(image)
    return cv2.flip(image, FLIPPED[orientation]) if orientation in FLIPPED else image


def _encode(image: np.ndarray, target: Path, quality: int) -> None:
    with foreign(target, "cannot be encoded", "check the source"):
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
