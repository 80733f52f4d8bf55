"""Clips: the frames of one video in order, read a few frames ahead of the detector in constant memory."""

from __future__ import annotations

import glob
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from urllib.parse import urlsplit

import cv2

from lib.dataset.jpeg import MOST_PIXELS
from lib.dataset.media import PICTURES, VIDEOS, natural_key
from lib.errors import LONGEST, InputError, nearest
from lib.reading import walk
from lib.video.sources import Camera, Frame, PictureFiles, VideoStream

MOST_HELD = 2**28  # pixels of the frames that wait for their detections: 768 MiB


@dataclass(frozen=True)
class Clip:
    """The frames of one video. It can be iterated more than once.

    name: used for output folders. start, stop, step: a slice of the source's frames. max_size: frames whose longer
    side exceeds this many pixels are shrunk to it; None keeps their size. prefetch: frames read ahead, from 1; fewer
    if they have more than MOST_PIXELS in all. A live source does not wait: if as many frames are waiting when another
    arrives, the oldest is dropped, which leaves a gap in the frame numbers. pace: plays images or a video file at this
    many frames per second, as if it were live.
    """

    name: str
    source: PictureFiles | VideoStream | Camera
    start: int = 0
    stop: int | None = None
    step: int = 1
    max_size: int | None = None
    prefetch: int = 4
    pace: float | None = None

    @property
    def live(self) -> bool:
        return self.source.live or self.pace is not None

    @property
    def fps(self) -> float | None:
        """Frames per second of this clip, which is the source's rate divided by `step`. None if unknown."""
        return self.source.fps / self.step if self.source.fps else None

    @property
    def numbers(self) -> range:
        """The clip's frames as numbers in the source. Extends past the end if the source's length is unknown."""
        ends = [end for end in (self.stop, self.source.length) if end is not None]
        return range(self.start, min(ends, default=sys.maxsize), self.step)

    @property
    def length(self) -> int | None:
        """Number of frames, None if unknown."""
        return len(self.numbers) if self.source.length is not None else None

    def name_at(self, position: int) -> str:
        """Name of the frame at `position` in this clip, as opposed to the source."""
        return self.source.name_of(self.numbers[position])

    def skip(self, frames: int) -> Clip:
        """The clip without its first `frames` frames."""
        return replace(self, start=self.start + frames * self.step)

    def part(self, first: int, stop: int) -> Clip:
        """The frames at the positions from `first` up to, but excluding, `stop`; there may be fewer."""
        numbers = self.numbers[first:stop]
        return replace(self, start=numbers[0], stop=numbers[-1] + 1)

    def __iter__(self) -> Generator[Frame, None, None]:
        return _read_ahead(self._frames(), self.prefetch, self.live)

    def _frames(self) -> Generator[Frame, None, None]:
        start = time.monotonic()
        for position, frame in enumerate(self.source.read(self.numbers)):
            if self.pace is not None:
                time.sleep(max(0.0, start + position / self.pace - time.monotonic()))
            high, wide = frame.image.shape[:2]
            if self.max_size is not None and max(high, wide) > self.max_size:
                scale = self.max_size / max(high, wide)
                size = (max(1, round(wide * scale)), max(1, round(high * scale)))
                frame = replace(frame, image=cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA))
            yield frame


def parse_frames(text: str) -> tuple[int, int | None, int]:
    """Parse "START:STOP:STEP" into a slice of frames counted from 0: "100:200:2" gives (100, 200, 2), "7" one frame.

    Raises InputError if the text is malformed or selects no frame.
    """
    match = re.fullmatch(r"(\d{1,9})|(\d{0,9}):(\d{0,9})(?::(\d{0,9}))?", text)
    if not match:
        raise InputError(
            f"--frames {text[:LONGEST]}: write START:STOP or START:STOP:STEP, counted from 0, as in 100:200:2"
        )
    one, start, stop, step = match.groups()
    if one:
        return int(one), int(one) + 1, 1
    first, end, stride = int(start or 0), int(stop) if stop else None, int(step or 1)
    if stride == 0 or (end is not None and end <= first):
        raise InputError(
            f"--frames {text}: selects no frame; write START:STOP:STEP with STOP above START and STEP above 0"
        )
    return first, end, stride


def open_clips(inputs: Sequence[str], *, frames: str | None = None, max_size: int | None = None) -> list[Clip]:
    """Open folders, glob patterns, image files, videos, camera numbers and URLs as clips, in the order given.

    The images of one folder form one clip, whether given by the folder, by name or by pattern; each video is a clip.
    frames: as in `parse_frames`, applied to each clip. Clip names are unique. Raises InputError if an input is
    missing, empty, or not an image or video. Broken images are detected only on reading.
    """
    if max_size is not None and max_size < 16:
        raise InputError(f"--max-size {max_size}: must be at least 16 pixels")
    start, stop, step = parse_frames(frames) if frames else (0, None, 1)
    clips: list[Clip] = []
    loose: dict[Path, list[Path]] = {}  # images given individually, by folder
    for text in inputs:
        for found in _expand(text):
            if isinstance(found, Path) and found.suffix.lower() in PICTURES:
                if found.parent not in loose:
                    loose[found.parent] = []
                    clips.append(Clip("", PictureFiles(loose[found.parent])))
                loose[found.parent].append(found)
            else:
                clips.extend(_clips_of(found))
    for paths in loose.values():
        paths[:] = sorted(set(paths), key=lambda path: natural_key(path.name))
    taken: set[str] = set()
    result = []
    for clip in clips:
        plain = clip.name or _name_of(clip.source)
        names = chain([plain], (f"{plain}-{number}" for number in count(2)))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        clip = replace(clip, name=name, start=start, stop=stop, step=step, max_size=max_size)
        if clip.length == 0:
            raise InputError(f"--frames {frames}: {clip.source.where} has only {clip.source.length} frames")
        result.append(clip)
    return result


def open_clip(source: str, *, frames: str | None = None, max_size: int | None = None) -> Clip:
    """Open one clip, as `open_clips` does. Raises InputError if the source contains several clips."""
    clips = open_clips([source], frames=frames, max_size=max_size)
    if len(clips) != 1:
        raise InputError(f"{source}: contains {len(clips)} clips, expected one; give one of them")
    return clips[0]


def pixels(frames: Collection[Frame]) -> int:
    """Number of pixels of all frames."""
    return sum(frame.image.shape[0] * frame.image.shape[1] for frame in frames)


def check_held(frames: Collection[Frame]) -> None:
    """Raises InputError if frames that are kept at the same time have more than MOST_HELD pixels in all."""
    if pixels(frames) > MOST_HELD:
        raise InputError(
            f"{len(frames)} frames of {pixels(frames)} pixels must be kept at the same time, the limit is {MOST_HELD}; "
            "shrink them with --max-size, or lower TEST.KEY_FRAME_INTERVAL or TEST.BATCH_IMAGES"
        )


def _expand(text: str) -> list[Path | str]:
    """Expand a path or a glob pattern to paths. Camera numbers and URLs are returned unchanged."""
    if "://" in text:
        return [text]
    path = Path(text).expanduser()
    if path.exists():
        return [path]
    if text.isascii() and text.isdecimal() and len(text) < 4:
        return [text]
    if any(character in text for character in "*?["):
        matches = _matches(path)
        if not matches:
            raise InputError(f"{text}: nothing matches")
        folders = [match for match in matches if match.is_dir()]
        usable = [match for match in matches if match.suffix.lower() in PICTURES + VIDEOS and not match.is_dir()]
        if not usable and not folders:
            raise InputError(f"{text}: matches no picture, video or folder")
        return sorted(usable or folders, key=lambda match: natural_key(str(match)))
    raise InputError(f"{text}: no such file or folder{_hint(path)}")


def _matches(pattern: Path) -> list[Path]:
    """What a pattern matches. Raises InputError where ** comes to a symbolic link to a folder above it, which `glob`
    would follow again and again.
    """
    if "**" not in pattern.parts:
        return [Path(match) for match in glob.glob(str(pattern))]
    place = pattern.parts.index("**")
    rest = pattern.parts[place + 1 :] or ("*",)
    found: dict[Path, None] = {}  # in order, without repetitions
    for top in glob.glob(str(Path(*pattern.parts[:place]))) if place else ["."]:
        for folder, _ in walk(top):
            if not any(part.startswith(".") for part in folder.relative_to(top).parts):
                found.update(dict.fromkeys(_matches(Path(glob.escape(str(folder)), *rest))))
    return list(found)


def _hint(path: Path) -> str:
    """A suggestion for a path that does not exist."""
    folder = path.parent.resolve()
    if not folder.is_dir():
        return f"; there is no folder {folder}"
    names = [each.name for each in folder.iterdir()] if os.access(folder, os.R_OK) else []
    near = nearest(path.name, names, 0.75)
    return f"; did you mean {path.with_name(near)}?" if near else f" in {folder}; give the full path"


def _clips_of(found: Path | str) -> list[Clip]:
    if isinstance(found, str):
        return [Clip("", Camera(int(found)) if found.isdecimal() else VideoStream.probe(found))]
    if not found.is_dir():
        return [Clip("", VideoStream.probe(str(found)))]
    files = [path for path in found.iterdir() if not path.name.startswith(".")]
    files.sort(key=lambda path: natural_key(path.name))
    # A link without a target, a pipe or a folder must not vanish: reading them is an error.
    stills = [path for path in files if path.suffix.lower() in PICTURES]
    if stills:
        return [Clip(found.resolve().name or "pictures", PictureFiles(stills))]
    videos = [path for path in files if path.suffix.lower() in VIDEOS and not path.is_dir()]
    if videos:
        return [Clip("", VideoStream.probe(str(path))) for path in videos]
    deeper = any(path.suffix.lower() in PICTURES + VIDEOS for path in found.glob("*/*"))
    hint = f"; use '{found}/*' for its subfolders" if deeper else f" ({' '.join(PICTURES)}; {' '.join(VIDEOS)})"
    raise InputError(f"{found}: contains no picture or video{hint}")


def _name_of(source: PictureFiles | VideoStream | Camera) -> str:
    if isinstance(source, PictureFiles):
        path = source.paths[0].resolve()
        return path.stem if len(source.paths) == 1 else path.parent.name or "pictures"
    if isinstance(source, Camera):
        return f"camera{source.number}"
    if "://" in source.where:
        parts = urlsplit(source.where)
        return re.sub(r"[^\w.-]+", "_", Path(parts.path).stem or parts.hostname or "stream")
    return Path(source.where).stem


def _read_ahead(frames: Generator[Frame, None, None], depth: int, live: bool) -> Generator[Frame, None, None]:
    """Read frames in a thread, at most `depth` ahead, and only one if they have more than MOST_PIXELS in all. An error
    is raised after the frames read before it.

    live: the source must not wait, so when as many frames are waiting the oldest is dropped.
    """
    ready: deque[Frame] = deque()
    changed = threading.Condition()
    ended, stopped, failure = False, False, None

    def full(frame: Frame) -> bool:
        return len(ready) >= depth or (len(ready) > 0 and pixels([*ready, frame]) > MOST_PIXELS)

    def work() -> None:
        nonlocal ended, failure
        try:
            for frame in frames:
                with changed:
                    while full(frame) and not stopped:
                        if live:
                            ready.popleft()
                        else:
                            changed.wait()
                    if stopped:
                        return
                    ready.append(frame)
                    changed.notify_all()
                del frame  # do not keep the frame alive while reading the next
        except BaseException as error:
            failure = error
        finally:
            frames.close()
            with changed:
                ended = True
                changed.notify_all()

    worker = threading.Thread(target=work, name="frames", daemon=True)
    worker.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: ready or ended)
                if not ready:
                    break
                frame = ready.popleft()
                changed.notify_all()
            yield frame
            del frame  # do not keep the frame alive while waiting for the next
        if failure is not None:
            raise failure
    finally:
        with changed:
            stopped = True
            changed.notify_all()
        worker.join(timeout=5)
