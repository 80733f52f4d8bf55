from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import InputError
from lib.eval import _text
from lib.eval import detections as module
from lib.eval.detections import (
    RECORD,
    DetectionTable,
    DetectionWriter,
    iter_detections,
    read_detections,
    write_detections,
)
from tests.eval.reference import found, table_of

TABLE = table_of([(7, 1, 0.9, (1, 2, 30.25, 40)), (7, 2, 0.5, (0, 0, 5, 5)), (100000, 30, 0.1234, (-1.5, 2, 3, 4.75))])


def same(table, other):
    for name in ("frame_ids", "classes", "scores", "boxes"):
        np.testing.assert_array_equal(getattr(table, name), getattr(other, name))
        assert getattr(table, name).dtype == getattr(other, name).dtype


def written(path, text):
    path.write_text(text)
    return path


def test_text_lines_have_4_decimals_of_score_and_2_of_boxes(tmp_path):
    path = tmp_path / "detections.txt"
    with DetectionWriter(path) as writer:
        writer.write(12, found([(1, 2.345, 3, 4), (5, 6, 7, 8)], [0.98768, 0.5], [1, 30]))
        writer.write(13, found([], [], []))
    assert path.read_text() == "12 1 0.9877 1.00 2.35 3.00 4.00\n12 30 0.5000 5.00 6.00 7.00 8.00\n"


@pytest.mark.parametrize("name", ["found.txt", "found.txt.gz"])
def test_round_trip_of_text(tmp_path, name):
    write_detections(tmp_path / name, TABLE)
    same(read_detections([tmp_path / name], 30), TABLE)


def test_round_trip_of_binary_keeps_float32(tmp_path):
    write_detections(tmp_path / "found.npy", TABLE)
    result = read_detections([tmp_path / "found.npy"], 30)
    np.testing.assert_array_equal(result.boxes, TABLE.boxes)
    np.testing.assert_array_equal(result.scores, TABLE.scores.astype(np.float32))
    assert len(np.load(tmp_path / "found.npy", allow_pickle=False)) == 3
    assert (tmp_path / "found.npy").stat().st_size < 26 * 3 + 300


def test_several_files_are_concatenated(tmp_path):
    write_detections(tmp_path / "a.txt", TABLE)
    write_detections(tmp_path / "b.npy", TABLE)
    result = read_detections([tmp_path / "a.txt", tmp_path / "b.npy"])
    assert result.frame_ids.tolist() == [7, 7, 100000] * 2


def test_empty_files_and_blank_lines(tmp_path):
    assert len(read_detections([written(tmp_path / "empty.txt", "")], 3)) == 0
    assert len(read_detections([written(tmp_path / "blank.txt", "\n \n\t\r\n")], 3)) == 0
    assert len(read_detections([], 3)) == 0
    with gzip.open(tmp_path / "empty.txt.gz", "wb"):
        pass
    assert len(read_detections([tmp_path / "empty.txt.gz"], 3)) == 0
    write_detections(tmp_path / "empty.npy", DetectionTable.empty())
    assert len(read_detections([tmp_path / "empty.npy"], 3)) == 0
    text = "\n7 1 0.5 1 2 3 4\n\n  8\t2 1e-3 +1 -2 .5 4.\r\n9 3 1 1 2 3 4"
    result = read_detections([written(tmp_path / "some.txt", text)], 3)
    assert result.frame_ids.tolist() == [7, 8, 9]
    assert result.scores.tolist() == [0.5, 0.001, 1.0]
    assert result.boxes[1].tolist() == [1.0, -2.0, 0.5, 4.0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7 1 0.5 1 2 3", "6 columns in '7 1 0.5 1 2 3', expected `frame_id class_index score x1 y1 x2 y2`"),
        ("7 1 0.5 1 2 3 4 5", "8 columns"),
        ("7 1 0.5 1 2 3 4 5 6 7", "10 columns"),
        ("7 1 high 1 2 3 4", "' is not finite or not a number"),
        ("7.5 1 0.5 1 2 3 4", "' is not finite or not a number"),
        ("7 1 nan 1 2 3 4", "' is not finite or not a number"),
        ("7 1 0.5 1 2 inf 4", "' is not finite or not a number"),
        ("7 1 0.5 1 2 3 4..", "' is not finite or not a number"),
        ("7 1 0.5 1 2 - 4", "' is not finite or not a number"),
        ("7 0 0.5 1 2 3 4", "unknown class index 0 in '7 0 0.5 1 2 3 4', expected 1 to 3"),
        ("7 4 0.5 1 2 3 4", "unknown class index 4"),
        ("7 99999999999 0.5 1 2 3 4", "unknown class index 99999999999"),
    ],
)
def test_an_invalid_line_is_reported(tmp_path, line, message):
    path = written(tmp_path / "bad.txt", f"7 1 0.5 1 2 3 4\n\n{line}\n7 1 0.5 1 2 3 4\n")
    with pytest.raises(InputError) as error:
        read_detections([path], 3)
    assert str(error.value).startswith(f"{path}:3: ")
    assert message in str(error.value)


def test_an_invalid_line_after_the_first_block_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 50)
    path = written(tmp_path / "bad.txt", "7 1 0.5 1 2 3 4\n" * 40 + "oops\n")
    with pytest.raises(InputError, match=r"bad\.txt:41: 1 columns"):
        read_detections([path], 3)


def test_a_small_file_of_many_rows(tmp_path, monkeypatch):
    """Compressed, the same line takes a thirtieth of a byte."""
    monkeypatch.setattr(module, "FEWEST_ROWS", 1000)
    for name, rows in {"a.txt.gz": 1000, "a.txt": 2000, "a.npy": 2000}.items():
        write_detections(tmp_path / name, DetectionTable.join([TABLE.take(slice(1))] * rows))
        assert len(read_detections([tmp_path / name])) == rows
    write_detections(tmp_path / "a.txt.gz", DetectionTable.join([TABLE.take(slice(1))] * 1001))
    with pytest.raises(InputError, match=r"a\.txt\.gz: a small file of more than 1000 detections; recreate it"):
        read_detections([tmp_path / "a.txt.gz"])


def test_a_file_given_twice(tmp_path):
    (tmp_path / "b.txt").symlink_to(written(tmp_path / "a.txt", "7 1 0.5 1 2 3 4\n"))
    with pytest.raises(InputError, match="a detection file is given twice"):
        read_detections([tmp_path / "a.txt", tmp_path / "b.txt"])


def test_the_block_size_does_not_change_the_result(tmp_path, monkeypatch):
    path = tmp_path / "found.txt"
    write_detections(path, DetectionTable.join([TABLE] * 20))
    for size in (1, 13, 64):
        monkeypatch.setattr(module, "_BLOCK", size)
        same(read_detections([path], 30), DetectionTable.join([TABLE] * 20))
    assert len(list(iter_detections(path))) > 10  # it is a stream


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(InputError, match="no such detection file"):
        read_detections([tmp_path / "none.txt"])
    (tmp_path / "broken.txt.gz").write_bytes(gzip.compress(b"7 1 0.5 1 2 3 4\n" * 100)[:-20])
    with pytest.raises(InputError, match="broken gzip file"):
        read_detections([tmp_path / "broken.txt.gz"])
    (tmp_path / "plain.txt.gz").write_text("7 1 0.5 1 2 3 4\n")
    with pytest.raises(InputError, match="broken gzip file"):
        read_detections([tmp_path / "plain.txt.gz"])
    (tmp_path / "text.npy").write_text("7 1 0.5 1 2 3 4\n")
    with pytest.raises(InputError, match="not a detection file in NumPy format"):
        read_detections([tmp_path / "text.npy"])
    (tmp_path / "empty.npy").write_text("")
    with pytest.raises(InputError, match="not a detection file in NumPy format"):
        read_detections([tmp_path / "empty.npy"])
    np.save(tmp_path / "other.npy", np.zeros((3, 7)))
    with pytest.raises(InputError, match="not detection records"):
        read_detections([tmp_path / "other.npy"])
    records = np.zeros(3, RECORD)
    records["class"] = 1, 4, 1
    np.save(tmp_path / "class.npy", records)
    with pytest.raises(InputError, match=r"record 1 \(from 0\): unknown class index 4, expected 1 to 3"):
        read_detections([tmp_path / "class.npy"], 3)
    records["class"] = 1
    records["score"][2] = np.nan
    np.save(tmp_path / "nan.npy", records)
    with pytest.raises(InputError, match=r"record 2 \(from 0\) is not finite"):
        read_detections([tmp_path / "nan.npy"], 3)


@pytest.mark.parametrize("name", ["found.txt", "found.txt.gz", "found.npy"])
def test_a_failed_run_leaves_no_file(tmp_path, name):
    with pytest.raises(RuntimeError), DetectionWriter(tmp_path / name) as writer:
        writer.write_table(TABLE)
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_same_detections_give_the_same_gz_file(tmp_path):
    for name in ("a.txt.gz", "b.txt.gz"):
        write_detections(tmp_path / name, TABLE)
    assert (tmp_path / "a.txt.gz").read_bytes() == (tmp_path / "b.txt.gz").read_bytes()


def test_binary_rejects_values_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match="a frame id above"):
        write_detections(tmp_path / "found.npy", table_of([(2**31, 1, 0.5, (1, 2, 3, 4))]))


def number(text):
    arrays = np.empty(1, np.int64), np.empty(1, np.int32), np.empty(1), np.empty((1, 4))
    rows, fault, _ = _text.parse(f"1 1 {text} 0 0 0 0".encode(), 1, *arrays)
    assert (rows, fault) == (1, _text.FINE)
    return arrays[2][0]


@settings(max_examples=300, deadline=None)
@given(st.floats(-1e200, 1e200), st.integers(0, 17))
def test_numbers_are_read_as_python_reads_them(value, digits):
    for text in (repr(value), f"{value:.{digits}g}", f"{value % 1000:.{digits}f}", f"{value % 1:.4f}"):
        assert number(text) == float(text)
