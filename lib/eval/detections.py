"""Detection files, text or binary: written frame by frame, read as a stream.

Text: one detection per line, `frame_id class_index score x1 y1 x2 y2`, with 4 decimals for the score and 2 for the box,
in pixels of the original image; `.gz` is compressed. Binary (`.npy`): a NumPy array with one record of 26 bytes per
detection, values not rounded, no pickle.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import lib.eval._text as _text
from lib.bbox.detections import Detections
from lib.errors import InputError, check_regular, quoted
from lib.files import replacing
from lib.reading import LARGEST_COORDINATE, RATIO, UNPACKED, foreign

RECORD = np.dtype([("frame", "<i4"), ("class", "<i2"), ("score", "<f4"), ("box", "<f4", (4,))])

FEWEST_ROWS, ROW_BYTES = 2_000_000, 4  # a file may have this many rows, or one for each ROW_BYTES of its size
_BLOCK = 1 << 24
_HEADER = 128
_FORMAT = "frame_id class_index score x1 y1 x2 y2"


@dataclass(frozen=True)
class DetectionTable:
    """Detections of any number of frames, in file order.

    frame_ids (N,) int64; classes (N,) int32 in 1..C; scores (N,) float64;
    boxes (N, 4) float64 x1 y1 x2 y2, inclusive pixels of the original image.
    """

    frame_ids: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: np.ndarray | slice) -> DetectionTable:
        """The rows selected by an array of indices, a boolean mask or a slice."""
        return DetectionTable(self.frame_ids[rows], self.classes[rows], self.scores[rows], self.boxes[rows])

    @staticmethod
    def empty() -> DetectionTable:
        """A table without rows."""
        return DetectionTable(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0), np.empty((0, 4)))

    @staticmethod
    def join(tables: Sequence[DetectionTable]) -> DetectionTable:
        """Concatenate tables."""
        if len(tables) == 1:
            return tables[0]
        names = ("frame_ids", "classes", "scores", "boxes")
        parts = [[getattr(table, name) for table in (DetectionTable.empty(), *tables)] for name in names]
        return DetectionTable(*(np.concatenate(part) for part in parts))

    @staticmethod
    def of_frames(frames: Iterable[tuple[int, Detections]]) -> DetectionTable:
        """Build a table from (frame id, detections) pairs, in their order."""
        return DetectionTable.join(
            [
                DetectionTable(
                    np.full(len(found), frame_id, np.int64),
                    np.asarray(found.classes, np.int32),
                    np.asarray(found.scores, np.float64),
                    np.asarray(found.boxes, np.float64).reshape(-1, 4),
                )
                for frame_id, found in frames
            ]
        )


class DetectionWriter:
    """Write a detection file frame by frame; the suffix (.txt, .txt.gz, .npy) sets the format.

        with DetectionWriter("detections.txt") as writer:
            writer.write(frame_id, detections)

    The file appears under its name only when the block ends without an error, never half-written.
    """

    _file: BinaryIO | gzip.GzipFile

    def __init__(self, path: str | os.PathLike, *, pipes: bool = False):
        self.path = Path(path)
        self._pipes = pipes
        self._binary = self.path.suffix == ".npy"
        self._stack = contextlib.ExitStack()
        self._rows = 0

    def __enter__(self) -> DetectionWriter:
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(replacing(self.path, pipes=self._pipes))
            if self.path.suffix == ".gz":
                # No name and time in the header, so that the same detections give the same file.
                raw = stack.enter_context(open(temporary, "wb"))
                self._file = stack.enter_context(gzip.GzipFile("", "wb", 6, raw, mtime=0))
            else:
                self._file = stack.enter_context(open(temporary, "wb"))
            if self._binary:
                self._file.write(_header(0))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._binary and error[0] is None:
            self._file.seek(0)
            self._file.write(_header(self._rows))
        self._stack.__exit__(*error)

    def write(self, frame_id: int, found: Detections) -> None:
        """Append the detections of one frame."""
        self.write_table(DetectionTable.of_frames([(frame_id, found)]))

    def write_table(self, table: DetectionTable) -> None:
        """Append the detections of any number of frames."""
        for start in range(0, len(table), 1 << 16):
            part = table.take(slice(start, start + (1 << 16)))
            self._file.write(_records(part).tobytes() if self._binary else _lines(part))
        self._rows += len(table)


def write_detections(path: str | os.PathLike, table: DetectionTable, *, pipes: bool = False) -> None:
    """Write a whole detection file; the suffix sets the format (see `DetectionWriter`). pipes: as in `replacing`."""
    with DetectionWriter(path, pipes=pipes) as writer:
        writer.write_table(table)


def read_detections(paths: Sequence[str | os.PathLike], classes: int = 0) -> DetectionTable:
    """All detections of several files, concatenated.

    Raises InputError as `iter_detections`, and for a file given twice.
    """
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        raise InputError(f"{paths[0]} ...: a detection file is given twice; give each once")
    return DetectionTable.join([part for path in paths for part in iter_detections(path, classes)])


def iter_detections(path: str | os.PathLike, classes: int = 0) -> Iterator[DetectionTable]:
    """Yield the detections of a file as a stream of tables; the suffix sets the format (see `DetectionWriter`).

    classes: the number of classes C; 0 accepts any class index. Blank lines are skipped, an empty file gives nothing.
    Raises InputError, with file and line, if the file is missing, the gzip data is broken or too much, a line
    has the wrong number of columns, a value is not a finite number, or a class is outside 1..C.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such detection file; pass the file(s) that a test run wrote")
    if path.suffix == ".npy":
        yield from _read_binary(path, classes)
        return
    with foreign(path, "cannot be read", "pass the file(s) that a test run wrote"):
        check_regular(path)
    opened = gzip.open if path.suffix == ".gz" else open
    line = total = rows = 0
    most_rows = max(FEWEST_ROWS, path.stat().st_size // ROW_BYTES)
    limit = max(UNPACKED, RATIO * path.stat().st_size)
    rest = b""
    with opened(path, "rb") as file:
        while True:
            try:
                block = file.read(_BLOCK)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise InputError(f"{path}: broken gzip file ({error}); recreate it") from error
            total += len(block)
            if total > limit:
                raise InputError(
                    f"{path}: unpacks to more than {UNPACKED} bytes and {RATIO} times its size; recreate it"
                )
            data = rest + block
            whole = data.rfind(b"\n") + 1 if block else len(data)
            data, rest = data[:whole], data[whole:]
            if data:
                table, lines = _parse(path, data, line, classes)
                line += lines
                rows += len(table)
                if rows > most_rows:
                    raise InputError(f"{path}: a small file of more than {most_rows} detections; recreate it")
                yield table
            if not block:
                return


def _parse(path: Path, data: bytes, first: int, classes: int) -> tuple[DetectionTable, int]:
    lines = data.count(b"\n") + 1
    table = DetectionTable(np.empty(lines, np.int64), np.empty(lines, np.int32), np.empty(lines), np.empty((lines, 4)))
    rows, fault, line = _text.parse(data, classes, table.frame_ids, table.classes, table.scores, table.boxes)
    if fault == _text.FINE:
        table = table.take(slice(rows))
        if not np.abs(table.boxes).max(initial=0) <= LARGEST_COORDINATE:
            box = table.boxes[np.argmax(np.abs(table.boxes).max(axis=1))].tolist()
            raise InputError(f"{path}: box {box} exceeds {LARGEST_COORDINATE:.0f} pixels; recreate it")
        return table, line
    text = data.split(b"\n")[line].decode("utf-8", "replace").strip()
    shown = text if len(text) < 80 else text[:77] + "..."
    where = f"{path}:{first + line + 1}"
    if fault == _text.COLUMNS:
        raise InputError(f"{where}: {len(text.split())} columns in {quoted(shown)}, expected `{_FORMAT}`")
    if fault == _text.CLASS:
        known = f"expected 1 to {classes}" if classes else "it is too large"
        raise InputError(f"{where}: unknown class index {text.split()[1][:20]} in {quoted(shown)}, {known}")
    raise InputError(f"{where}: a value in {quoted(shown)} is not finite or not a number, expected `{_FORMAT}`")


def _read_binary(path: Path, classes: int) -> Iterator[DetectionTable]:
    with foreign(path, "not a detection file in NumPy format", "recreate it"):
        records = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(records, np.ndarray):
        raise InputError(f"{path}: not a detection file in NumPy format, but an archive; recreate it")
    if records.dtype != RECORD or records.ndim != 1:
        raise InputError(f"{path}: contains {records.dtype} {records.shape}, not detection records; recreate it")
    for start in range(0, len(records), 1 << 19):
        part = records[start : start + (1 << 19)]
        table = DetectionTable(
            part["frame"].astype(np.int64),
            part["class"].astype(np.int32),
            part["score"].astype(np.float64),
            part["box"].astype(np.float64),
        )
        finite = np.isfinite(table.scores) & (np.abs(table.boxes) <= LARGEST_COORDINATE).all(axis=1)
        if not finite.all():
            row, limit = start + np.flatnonzero(~finite)[0], f"{LARGEST_COORDINATE:.0f} pixels"
            raise InputError(f"{path}: record {row} (from 0) is not finite, or exceeds {limit}; recreate it")
        known = (table.classes >= 1) & (table.classes <= classes) | (classes == 0)
        if not known.all():
            row = int(np.flatnonzero(~known)[0])
            raise InputError(
                f"{path}: record {start + row} (from 0): unknown class index {table.classes[row]}, "
                f"expected 1 to {classes}"
            )
        yield table


def _lines(table: DetectionTable) -> bytes:
    columns = [table.frame_ids.tolist(), table.classes.tolist(), table.scores.tolist(), *table.boxes.T.tolist()]
    line = "{:d} {:d} {:.4f} {:.2f} {:.2f} {:.2f} {:.2f}\n".format
    return "".join([line(*row) for row in zip(*columns)]).encode()


def _records(table: DetectionTable) -> np.ndarray:
    for name, array, limit in (("frame id", table.frame_ids, 2**31 - 1), ("class", table.classes, 2**15 - 1)):
        if len(array) and np.abs(array).max() > limit:
            raise ValueError(f"a {name} above {limit} does not fit into a binary detection file; write text")
    records = np.empty(len(table), RECORD)
    records["frame"] = table.frame_ids
    records["class"] = table.classes
    records["score"] = table.scores
    records["box"] = table.boxes
    return records


def _header(rows: int) -> bytes:
    """The .npy header for `rows` records, of a length that does not depend on their number."""
    text = f"{{'descr': {np.lib.format.dtype_to_descr(RECORD)!r}, 'fortran_order': False, 'shape': ({rows},), }}"
    length = 2 * _HEADER - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.encode().ljust(length - 1) + b"\n"
