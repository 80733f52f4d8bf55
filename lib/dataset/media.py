"""Image and video files: known suffixes, natural sort order, opening a video."""

from __future__ import annotations

import contextlib
import errno
import itertools
import re
from collections.abc import Iterator

import av
import numpy as np

from lib.dataset.jpeg import MOST_PIXELS, check_size
from lib.errors import InputError, check_regular
from lib.reading import foreign

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".gif")
# What FFmpeg may take a file for, whatever its suffix: formats that hold their frames themselves. Playlists would open
# other files, pipes and addresses, and FFmpeg "plays" text as terminal art.
_FORMATS = (
    "mov,avi,matroska,webm,mpeg,mpegts,mpegvideo,m4v,h264,hevc,asf,flv,gif,apng,ogg,mxf,nut,dv,ivf,obu,mjpeg,"
    "yuv4mpegpipe,wtv,rm,jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe"
)


def natural_key(text: str) -> tuple:
    """Sort key for natural order: frame2 before frame10, 000002 before 000010."""
    parts = re.split(r"(\d+)", text)
    return tuple((int(part[:300]), "") if i % 2 else (0, part.casefold()) for i, part in enumerate(parts)), text


@contextlib.contextmanager
def opened(where: str) -> Iterator[av.container.InputContainer]:
    """Opens a video file or stream address. Raises InputError if it has no video that can be decoded."""
    address = "://" in where
    local = where.removeprefix("file://") if not address or where.startswith("file://") else None
    with foreign(where, "cannot be opened", "give a video or picture that plays"):
        if local is not None:
            check_regular(local)
        try:
            container = av.open(
                where if local is None else f"file:{local}",  # else a name such as pipe:0 is an address
                options={"rtsp_transport": "tcp"} if local is None else {"format_whitelist": _FORMATS},
                timeout=(10.0, 20.0) if local is None else None,
                metadata_errors="replace",
            )
        except av.error.FFmpegError as error:
            # FFmpeg calls a format that is not in _FORMATS an invalid argument.
            unknown = isinstance(error, av.error.InvalidDataError) or error.errno == errno.EINVAL
            reason = "not a video or picture" if unknown else error.strerror
            raise InputError(f"{where}: cannot be opened: {reason}") from error
    with container:
        if not container.streams.video:
            raise InputError(f"{where}: cannot be opened: not a video or picture")
        context = container.streams.video[0].codec_context
        if context is None:  # a header cut short; PyAV 15 would crash on decoding
            raise InputError(f"{where}: cannot be opened: no decoder for its video, or its header is damaged")
        check_size(context.width, context.height, where)
        yield container


def decoded(container: av.container.InputContainer, where: str) -> Iterator[np.ndarray]:
    """The frames of a video as `upright` gives them. Raises InputError if the data is broken or a frame too large."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # so that FFmpeg allocates nothing larger
    frames = container.decode(video=0)
    for number in itertools.count():
        with foreign(where, f"broken after {number} frames", "re-encode or cut it"):
            frame = next(frames, None)
            if frame is None:
                return
            check_size(frame.width, frame.height, f"{where}: frame {number}")
            image = upright(frame)
        yield image


def upright(frame: av.VideoFrame) -> np.ndarray:
    """The frame as BGR uint8 (H, W, 3), rotated as the file's metadata says (phones store portrait videos sideways)."""
    image = frame.to_ndarray(format="bgr24")
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image
