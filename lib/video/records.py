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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lib.bbox.detections import Detections
from lib.dataset.classes import ClassList
from lib.errors import InputError, quoted
from lib.files import replacing
from lib.output_paths import is_stream, open_stream
from lib.reading import LARGEST_COORDINATE, foreign, parse_json

ADVICE = "run without --resume"
LARGEST_NUMBER = 2**30  # of a class or track; later tracks must fit into int32
INVERTED = 16  # pixels; a detector's boxes are inverted by less than one pixel of the network's input


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


class RowFile:
    """A text file that grows row by row. After each frame it holds `head`, the rows joined by `joint`, and `tail`.

    A stream, such as a pipe or /dev/stdout, gets the rows of a frame at once, and `tail` at the end.
    """

    head, joint, tail, tail_without_rows = "", "\n", "\n", ""
    every_frame = False  # whether each frame has exactly one row

    def __init__(self, path: str | os.PathLike, classes: ClassList | None = None) -> None:
        self.path = Path(path)
        self.names = classes.names if classes else ()
        self._file: io.FileIO | None = None
        self._stream: BinaryIO | None = None
        self._end = 0
        self._rows = 0

    def finished(self) -> int | None:
        return None

    def start(self, kept: Sequence[tuple[int, str]]) -> None:
        """Open the file. kept: (index, name) of each frame whose rows are kept.

        Raises InputError if the existing file is not one that this run can continue.
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

    def check(self, kept: Sequence[tuple[int, str]]) -> None:
        """Raises InputError unless the file holds rows of the frames `kept` as `write` makes them."""
        for _ in self._old_rows(kept):
            pass

    def _old_rows(self, kept: Sequence[tuple[int, str]]) -> Iterator[str]:
        """The rows of the frames `kept`. Raises InputError unless each is as `write` makes it, and in order."""
        if not self.path.exists():
            raise InputError(f"{self.path}: does not exist, so it cannot be continued; {ADVICE}")
        names = dict(kept)
        count, last = 0, kept[0][0]
        with open(self.path, encoding="utf-8", errors="surrogateescape", newline="\n") as old:
            if old.read(len(self.head)) != self.head:
                raise InputError(f"{self.path}: has different columns from this run; {ADVICE}")
            for number, row in self._numbered(old):
                if self.every_frame and count == len(kept):
                    return
                frame = self._parsed(row, f"{self.path}: row {number}")
                expected = kept[count][0] if self.every_frame else last
                if frame.index < expected or (self.every_frame and frame.index > expected):
                    raise InputError(f"{self.path}: row {number}: frame {frame.index} instead of {expected}; {ADVICE}")
                last = frame.index
                if frame.index > kept[-1][0]:  # other files lack this frame
                    continue
                if frame.index not in names or frame.name not in ("", names[frame.index]):
                    what = f"{quoted(frame.name)} is not frame {frame.index} of this clip"
                    raise InputError(f"{self.path}: row {number}: {what}; {ADVICE}")
                count += 1
                yield row

    def _parsed(self, row: str, where: str) -> Result:
        with foreign(where, "damaged", ADVICE):
            frame = self.read(row, where)
            if self.rows_of(frame) != [row]:
                raise ValueError("its content is not what this program writes")
            return frame

    def _numbered(self, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
        """The complete rows and their numbers."""
        parts: list[str] = []
        quoted_break = False
        for number, line in enumerate(lines, 1):
            parts.append(line)
            quoted_break ^= self.toggles_quotes(line)
            if line.endswith("\n") and not quoted_break:
                row = "".join(parts).removesuffix("\n").removesuffix(",")
                if row not in ("", "]"):
                    yield number, row
                parts = []

    def toggles_quotes(self, line: str) -> bool:
        """Whether a quoted text, in which lines may break, begins or ends in this line, but not both."""
        return False

    def read(self, row: str, where: str) -> Result:
        """The frame of a row with its detections; the name is "" where the file has none. May raise any exception."""
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


class JsonLines(RowFile):
    """One JSON object per frame: frame, index, width, height and detections.

    Each detection has class, class_id, score, box (x1 y1 x2 y2) and, if tracked, track.
    """

    every_frame = True
    _keys = ("class", "class_id", "score", "box", "track")

    def finished(self) -> int:
        if not self.path.exists():
            return 0
        with open(self.path, "rb") as file:
            return sum(line.endswith(b"}\n") for line in file)

    def read(self, row: str, where: str) -> Result:
        frame = parse_json(row, where, ADVICE)
        found = [
            [each["class_id"], each["score"], *each["box"], *_track(each, "track")] for each in frame["detections"]
        ]
        return _read(frame["index"], frame["frame"], found, self.names, (frame["height"], frame["width"]))

    def rows_of(self, result: Result) -> list[str]:
        height, width = result.image.shape[:2]
        found = [
            dict(zip(self._keys, (self.names[c - 1], c, score, box, *track))) for c, score, box, track in result.rows()
        ]
        frame = {"frame": result.name, "index": result.index, "width": width, "height": height, "detections": found}
        return [json.dumps(frame, ensure_ascii=False)]

    def tracked(self) -> Iterator[Detections]:
        """Read the file's detections frame by frame. Raises InputError if it was written without tracks."""
        with open(self.path, encoding="utf-8", errors="surrogateescape") as file:
            for number, line in enumerate(file, 1):
                found = self._parsed(line.removesuffix("\n"), f"{self.path}:{number}").detections
                if found.tracks is None:
                    if len(found):
                        raise InputError(f"{self.path}: was written without --track; {ADVICE}")
                    found = replace(found, tracks=np.zeros(0, np.int32))
                yield found


class Csv(RowFile):
    """One row per detection: frame, index, class, class_id, score, x1, y1, x2, y2 and, if `tracks`, track."""

    def __init__(self, path: str | os.PathLike, classes: ClassList, tracks: bool = False) -> None:
        super().__init__(path, classes)
        self.head = f"frame,index,class,class_id,score,x1,y1,x2,y2{',track' if tracks else ''}\n"

    def toggles_quotes(self, line: str) -> bool:
        return line.count('"') % 2 == 1  # names may contain line breaks

    def read(self, row: str, where: str) -> Result:
        name, index, _, *found = next(csv.reader(io.StringIO(row, newline="")))
        return _read(index, name, [[float(value) for value in found]], self.names)

    def rows_of(self, result: Result) -> list[str]:
        rows = []
        for c, score, box, track in result.rows():
            text = io.StringIO()
            csv.writer(text, lineterminator="\r\n").writerow(  # quotes names with either character
                [result.name, result.index, self.names[c - 1], c, score, *box, *track]
            )
            rows.append(text.getvalue().removesuffix("\r\n"))
        return rows


class ImageNetFile(RowFile):
    """ImageNet's detection file, one line per detection: `frame_id class_index score x1 y1 x2 y2`; frames from 1."""

    def read(self, row: str, where: str) -> Result:
        number, *found = row.split()
        return _read(int(number) - 1, "", [[float(value) for value in found]], self.names)

    def rows_of(self, result: Result) -> list[str]:
        return [
            f"{result.index + 1} {c} {score:.4f} " + " ".join(f"{value:.2f}" for value in box)
            for c, score, box, _ in result.rows()
        ]


class CocoResults(RowFile):
    """COCO's results file, a JSON array: image_id (frames from 1), category_id, bbox (x y w h), score, track_id."""

    head, joint, tail, tail_without_rows = "[\n", ",\n", "\n]\n", "]\n"
    _keys = ("image_id", "category_id", "bbox", "score", "track_id")

    def read(self, row: str, where: str) -> Result:
        each = parse_json(row, where, ADVICE)
        x, y, width, height = each["bbox"]
        box = x, y, x + width - 1, y + height - 1
        found = [each["category_id"], each["score"], *box, *_track(each, "track_id")]
        return _read(each["image_id"] - 1, "", [found], self.names)

    def rows_of(self, result: Result) -> list[str]:
        return [
            json.dumps(dict(zip(self._keys, (result.index + 1, c, _x_y_w_h(box), score, *track))))
            for c, score, box, track in result.rows()
        ]


def _x_y_w_h(box: Sequence[float]) -> list[float]:
    return [box[0], box[1], round(box[2] - box[0] + 1, 2), round(box[3] - box[1] + 1, 2)]


def _track(row: Mapping, key: str) -> list[int]:
    return [row[key]] if key in row else []


def _read(index: int | str, name: str, rows: list, names: Sequence[str], size: tuple[int, int] = (1, 1)) -> Result:
    """A frame of rows class, score, x1, y1, x2, y2 and, if tracked, track. names: of the classes. size: height, width.

    Raises ValueError for what no detector yields.
    """
    table = np.array(rows, np.float64).reshape(len(rows), -1 if rows else 6)
    classes, scores, boxes, tracks = table[:, 0], table[:, 1], table[:, 2:6], table[:, 6:].T
    if not (np.abs(boxes) <= LARGEST_COORDINATE).all() or (boxes[:, 2:] < boxes[:, :2] - INVERTED).any():
        raise ValueError("not a box")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("a score outside 0 to 1")
    if not ((classes >= 1) & (classes <= (len(names) or LARGEST_NUMBER))).all():
        raise ValueError("an unknown class")
    if not ((tracks >= 1) & (tracks <= LARGEST_NUMBER)).all() or any(
        len(set(row)) < len(row) for row in tracks.tolist()
    ):
        raise ValueError(f"tracks that are not different numbers from 1 to {LARGEST_NUMBER}")
    found = Detections(
        boxes.astype(np.float32), scores.astype(np.float32), classes.astype(np.int32),
        tracks[0].astype(np.int32) if len(tracks) else None, names,
    )  # fmt: skip
    image = np.broadcast_to(np.uint8(0), (*size, 3))
    return Result(int(index), name, image, found, lambda image, _: image)
