"""Writes annotated frames to an .mp4 that browsers can play. If the run is killed, at most the last second is lost."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.bitstream import BitStreamFilterContext

from lib.errors import InputError
from lib.files import replacing
from lib.output_paths import followed, is_stream
from lib.video.records import Result

# While it grows, the video is a fragmented .mp4 with self-contained fragments of one second. close() rewrites it as an
# ordinary video with the index at the front.
_GROWING = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
_DONE = {"movflags": "faststart"}


class Film:
    """An H.264 video at `fps` frames per second, in the size of the first frame (odd sides grow by one pixel).

    Raises InputError if the suffix is not .mp4, or the path is a pipe or /dev/stdout.
    """

    def __init__(self, path: str | os.PathLike, fps: float) -> None:
        if Path(path).suffix.lower() != ".mp4":
            raise InputError(f"{path}: videos are written as .mp4; give a name that ends in .mp4")
        if is_stream(path):
            raise InputError(f"{path}: a video cannot be written to a pipe; give the name of a file")
        self.path = followed(Path(path))
        self._rate = Fraction(fps).limit_denominator(1001)
        self._kept = 0
        self._film: tuple[av.container.OutputContainer, av.VideoStream] | None = None
        self._next = 0

    def finished(self) -> int:
        if not self.path.exists():
            return 0
        try:
            with av.open(str(self.path), metadata_errors="replace") as film:
                if film.streams.video[0].codec_context is None:  # its header is damaged
                    return 0
                frames = film.streams.video[0].frames
            if not frames:  # not closed
                _cut_to_whole_fragments(self.path)
                with av.open(str(self.path)) as film:
                    frames = sum(packet.size > 0 for packet in film.demux(video=0))
            return frames
        except (av.error.FFmpegError, IndexError):
            return 0

    def start(self, kept: Sequence[tuple[int, str]]) -> None:
        # The video is opened by the first frame, which determines the size.
        self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._kept = len(kept)

    def write(self, result: Result) -> None:
        with self._as_os_error():
            self._next += result.dropped  # keep the timing of the clip
            self._write(result.picture)

    def close(self) -> None:
        """Rewrite the file as an ordinary video.

        If it raises OSError, on a full disk for example, the complete fragments of the growing video remain.
        """
        if self._film is not None:
            with self._as_os_error():
                self._finish(*self._film)
                self._make_ordinary()

    @contextlib.contextmanager
    def _as_os_error(self) -> Iterator[None]:
        try:
            yield
        except av.error.FFmpegError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _write(self, picture: np.ndarray) -> None:
        container, stream = self._film or self._open(picture.shape[1], picture.shape[0])
        frame = av.VideoFrame.from_ndarray(_fitted(picture, stream.width, stream.height), format="bgr24")
        frame.pts, frame.time_base = self._next, 1 / self._rate
        self._next += 1
        for packet in stream.encode(frame):
            container.mux(packet)

    def _finish(self, container: av.container.OutputContainer, stream: av.VideoStream) -> None:
        """Flush the encoder and close the growing video."""
        self._film = None
        whole = False
        try:
            try:
                for packet in stream.encode(None):
                    container.mux(packet)
            finally:
                container.close()
            whole = True
        finally:
            if not whole:
                _cut_to_whole_fragments(self.path)

    def _make_ordinary(self) -> None:
        with replacing(self.path) as temporary, av.open(str(self.path)) as old:
            with av.open(str(temporary), "w", format="mp4", options=_DONE) as new:
                stream = new.add_stream_from_template(old.streams.video[0])
                for packet in old.demux(old.streams.video[0]):
                    if packet.size:
                        packet.stream = stream
                        new.mux(packet)

    def _open(self, width: int, height: int) -> tuple[av.container.OutputContainer, av.VideoStream]:
        """Open the file. Frames kept from an earlier run are copied to a new file, which replaces the old one."""
        path = self.path.with_name(f".{self.path.stem}-growing.mp4") if self._kept else self.path
        container = av.open(str(path), "w", format="mp4", options=_GROWING)
        stream = container.add_stream("libx264", rate=self._rate)
        self._film = container, stream
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = max(1, round(self._rate))
        # No B-frames, so that a video can be cut at any frame. The colour matrix is the one that swscale uses.
        stream.options = {"crf": "20", "preset": "veryfast", "bf": "0", "x264-params": "colormatrix=smpte170m"}
        self._next = 0
        if self._kept:
            self._copy_kept(container, stream)
            path.replace(self.path)
        return container, stream

    def _copy_kept(self, container: av.container.OutputContainer, stream: av.VideoStream) -> None:
        with av.open(str(self.path)) as old:
            source = old.streams.video[0]
            if (source.width, source.height) != (stream.width, stream.height):
                raise InputError(f"{self.path}: the video has a different size from these frames; run without --resume")
            container.start_encoding()
            # The encoder's packets have start codes and those of a file have lengths; the muxer needs one kind.
            start_codes = BitStreamFilterContext("h264_mp4toannexb", source)
            for packet in old.demux(source):
                if self._next == self._kept:
                    break
                for converted in start_codes.filter(packet) if packet.size else ():
                    converted.stream = stream
                    container.mux(converted)
                    self._next += 1


def _cut_to_whole_fragments(path: Path) -> None:
    """Cut off an incomplete last fragment. An .mp4 is a sequence of boxes: length, kind, content."""
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        position = whole = 0
        while position + 8 <= size:
            file.seek(position)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length < 8 or position + length > size:
                break
            position += length
            if kind in (b"moov", b"mdat"):  # a fragment ends with its data
                whole = position
        file.truncate(whole)


def _fitted(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """The picture in the video's size: odd sides are padded by repeating the edge, other sizes resized onto black."""
    high, wide = picture.shape[:2]
    if (high, wide) == (height, width):
        return picture
    if (high + high % 2, wide + wide % 2) != (height, width):
        scale = min(width / wide, height / high)
        size = (min(width, max(1, round(wide * scale))), min(height, max(1, round(high * scale))))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        return cv2.copyMakeBorder(picture, 0, height - size[1], 0, width - size[0], cv2.BORDER_CONSTANT)
    return cv2.copyMakeBorder(picture, 0, height - high, 0, width - wide, cv2.BORDER_REPLICATE)
