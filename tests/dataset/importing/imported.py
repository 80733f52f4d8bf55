"""What the tests of the importers share: frames, films, and reading a dataset back."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import cv2
import numpy as np

from lib.dataset.annotation import read_annotation

WIDTH, HEIGHT = 64, 48


def picture(number: int = 0, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A flat picture whose brightness encodes its number (10 a step)."""
    return np.full((height, width, 3), 10 + 10 * number, np.uint8)


def put_frames(folder: Path, count: int, name: str = "{:06d}.jpg", first: int = 0) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name.format(first + number) for number in range(count)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), picture(number))
    return paths


def put_film(path: Path, count: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 4_000_000
        for number in range(count):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture(number), format="bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def number_of(path: Path) -> int:
    """The number that `picture` put into a frame."""
    return round((float(cv2.imread(str(path)).mean()) - 10) / 10)


def objects(root: Path, video: str) -> list[list[tuple]]:
    """(class, box, track, occluded, generated) of every object, by frame, of a video such as train/a."""
    paths = sorted((root / "Annotations" / "VID" / video).glob("*.xml"))
    return [
        [(each.class_id, each.box, each.track, each.occluded, each.generated) for each in read_annotation(path).objects]
        for path in paths
    ]


def failure(main, capsys, *arguments) -> str:
    """The one line that a command given bad input ends with (status 2)."""
    logging.getLogger().handlers.clear()
    try:
        main([str(each) for each in arguments])
    except SystemExit as stopped:
        assert stopped.code == 2, stopped.code
    else:
        raise AssertionError("no error")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, lines
    return lines[0].removeprefix("error: ")
