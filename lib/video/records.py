"""Detection files that are complete after every frame: JSON lines, CSV, ImageNet detection file, COCO results.

A sink has these members:
- `path`
- `finished()`: the number of complete frames from an earlier run, None if the file does not record frames
- `start(kept)`: opens the file and keeps what an earlier run wrote for the frames `kept`
- `write(result)`
- `close()`
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lib.bbox.detections import Detections
from lib.dataset.classes import ClassList
from lib.errors import InputError
from lib.files import is_stream, open_stream, replacing
from lib.reading import foreign, parse_json


@dataclass
class Result:
    """A frame and its detections.

    index: the frame's number in the source; picture: the annotated frame, drawn on first use; dropped: frames of a
    live clip that were dropped just before this one.
    """

    index: int
    name: str
    image: np.ndarray
    detections: Detections
    draw: Callable[[np.ndarray, Detections], np.ndarray]
    dropped: int = 0
    _picture: np.ndarray | None = field(default=None, init=False, repr=False)

    @property
    def picture(self) -> np.ndarray:
        if self._picture is None:
            self._picture = self.draw(self.image, self.detections)
        return self._picture

    def rows(self) -> Iterable[tuple[int, float, list[float], list[int]]]:
        """(class number, score, [x1, y1, x2, y2], [track] or []) of each detection, rounded as in the files."""
        found = self.detections
        scores, boxes = found.scores.astype(float).round(4).tolist(), found.boxes.astype(float).round(2).tolist()
        tracks = [[]] * len(found) if found.tracks is None else found.tracks[:, None].tolist()
        return zip(found.classes.tolist(), scores, boxes, tracks)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")  # file names need not be UTF-8


class _RowFile:
    """A text file that grows row by row. After each frame it holds `head`, the rows joined by `joint`, and `tail`.

    A stream, such as a pipe or /dev/stdout, gets the rows of a frame at once, and `tail` at the end.
    """

    head, joint, tail, tail_without_rows = "", "\n", "\n", ""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._file: io.FileIO | None = None
        self._stream: BinaryIO | None = None
        self._end = 0
        self._rows = 0

    def finished(self) -> int | None:
        return None

    def start(self, kept: Sequence[tuple[int, str]]) -> None:
        """Open the file. kept: (index, name) of each frame whose rows are kept.

        Raises InputError if the existing file has other columns.
        """
        self.close()
        if is_stream(self.path):
            self._stream, self._rows = open_stream(self.path), 0
            self._send(self.head)
            return
        with replacing(self.path) as path, open(path, "wb") as new:
            new.write(_bytes(self.head))
            self._rows = 0
            for row in self._old_rows(kept) if kept else ():
                new.write(_bytes((self.joint if self._rows else "") + row))
                self._rows += 1
            self._end = new.tell()
            new.write(_bytes(self._tail()))
        self._file = open(self.path, "r+b", buffering=0)

    def _tail(self) -> str:
        return self.tail if self._rows else self.tail_without_rows

    def _old_rows(self, kept: Sequence[tuple[int, str]]) -> Iterable[str]:
        if not self.path.exists():
            return
        with open(self.path, encoding="utf-8", errors="surrogateescape", newline="") as old:
            if old.read(len(self.head)) != self.head:
                raise InputError(f"{self.path}: has different columns from this run; run without --resume")
            for number, line in enumerate(old, 1):
                row = line.removesuffix("\n").removesuffix(",")
                if line.endswith("\n") and row not in ("", "]"):
                    with foreign(f"{self.path}: row {number}", "damaged", "run without --resume"):
                        late = self.index_of(row) > kept[-1][0]
                    if late:
                        return
                    yield row

    def index_of(self, row: str) -> int:
        """The frame number stored in a row of this file."""
        raise NotImplementedError

    def rows_of(self, result: Result) -> list[str]:
        """The rows of one frame, without line endings."""
        raise NotImplementedError

    def write(self, result: Result) -> None:
        """Append one frame. If it raises OSError, on a full disk for example, the file is left unchanged."""
        rows = self.rows_of(result)
        if self._stream is not None:
            if self.joint == self.tail:
                self._send("".join(row + self.tail for row in rows))
            elif rows:
                self._send((self.joint if self._rows else "") + self.joint.join(rows))
            self._rows += len(rows)
        elif rows:
            assert self._file is not None, "start() must be called first"
            file = self._file.fileno()
            data = _bytes((self.joint if self._rows else "") + self.joint.join(rows))
            try:
                _write_at(file, self._end, data + _bytes(self.tail))
            except OSError:
                os.ftruncate(file, self._end)
                _write_at(file, self._end, _bytes(self._tail()))
                raise
            self._end += len(data)
            self._rows += len(rows)

    def _send(self, text: str) -> None:
        assert self._stream is not None
        self._stream.write(_bytes(text))
        self._stream.flush()

    def close(self) -> None:
        if self._stream is not None:
            stream, end = self._stream, "" if self.joint == self.tail else self._tail()
            self._stream = None
            with stream:
                stream.write(_bytes(end))
        if self._file is not None:
            self._file.close()
            self._file = None


def _write_at(file: int, position: int, data: bytes) -> None:
    while data:
        count = os.pwrite(file, data, position)
        position, data = position + count, data[count:]


class JsonLines(_RowFile):
    """One JSON object per frame: frame, index, width, height and detections.

    Each detection has class, class_id, score, box (x1 y1 x2 y2) and, if tracked, track.
    """

    _keys = ("class", "class_id", "score", "box", "track")

    def __init__(self, path: str | os.PathLike, classes: ClassList) -> None:
        super().__init__(path)
        self.classes = classes

    def finished(self) -> int:
        if not self.path.exists():
            return 0
        with open(self.path, "rb") as file:
            return sum(line.endswith(b"}\n") for line in file)

    def index_of(self, row: str) -> int:
        return json.loads(row)["index"]

    def rows_of(self, result: Result) -> list[str]:
        height, width = result.image.shape[:2]
        found = [
            dict(zip(self._keys, (self.classes.names[c - 1], c, score, box, *track)))
            for c, score, box, track in result.rows()
        ]
        frame = {"frame": result.name, "index": result.index, "width": width, "height": height, "detections": found}
        return [json.dumps(frame, ensure_ascii=False)]

    def tracked(self) -> Iterator[Detections]:
        """Read the file's detections frame by frame. Raises InputError if it was written without tracks."""
        with open(self.path, encoding="utf-8", errors="surrogateescape") as file:
            for number, line in enumerate(file, 1):
                with foreign(f"{self.path}:{number}", "damaged", "run without --resume"):
                    found = parse_json(line, f"{self.path}:{number}", "run without --resume")["detections"]
                    if not all("track" in each for each in found):
                        raise InputError(f"{self.path}: was written without --track; run without --resume")
                    detections = Detections(
                        np.array([each["box"] for each in found], np.float32).reshape(-1, 4),
                        np.array([each["score"] for each in found], np.float32),
                        np.array([each["class_id"] for each in found], np.int32),
                        np.array([each["track"] for each in found], np.int32),
                        self.classes.names,
                    )
                    if len({each["track"] for each in found}) < len(found):
                        raise InputError(f"{self.path}:{number}: a track occurs twice; run without --resume")
                yield detections


class Csv(_RowFile):
    """One row per detection: frame, index, class, class_id, score, x1, y1, x2, y2 and, if `tracks`, track."""

    def __init__(self, path: str | os.PathLike, classes: ClassList, tracks: bool = False) -> None:
        super().__init__(path)
        self.classes = classes
        self.head = f"frame,index,class,class_id,score,x1,y1,x2,y2{',track' if tracks else ''}\n"

    def index_of(self, row: str) -> int:
        return int(next(csv.reader([row]))[1])

    def rows_of(self, result: Result) -> list[str]:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for c, score, box, track in result.rows():
            writer.writerow([result.name, result.index, self.classes.names[c - 1], c, score, *box, *track])
        return text.getvalue().splitlines()


class ImageNetFile(_RowFile):
    """ImageNet's detection file, one line per detection: `frame_id class_index score x1 y1 x2 y2`; frames from 1."""

    def index_of(self, row: str) -> int:
        return int(row.split()[0]) - 1

    def rows_of(self, result: Result) -> list[str]:
        return [
            f"{result.index + 1} {c} {score:.4f} " + " ".join(f"{value:.2f}" for value in box)
            for c, score, box, _ in result.rows()
        ]


class CocoResults(_RowFile):
    """COCO's results file, a JSON array: image_id (frames from 1), category_id, bbox (x y w h), score, track_id."""

    head, joint, tail, tail_without_rows = "[\n", ",\n", "\n]\n", "]\n"
    _keys = ("image_id", "category_id", "bbox", "score", "track_id")

    def index_of(self, row: str) -> int:
        return json.loads(row)["image_id"] - 1

    def rows_of(self, result: Result) -> list[str]:
        return [
            json.dumps(dict(zip(self._keys, (result.index + 1, c, _x_y_w_h(box), score, *track))))
            for c, score, box, track in result.rows()
        ]


def _x_y_w_h(box: Sequence[float]) -> list[float]:
    return [box[0], box[1], round(box[2] - box[0] + 1, 2), round(box[3] - box[1] + 1, 2)]
