"""Films: format, rate and size, and going on after an interruption."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from lib.errors import InputError
from lib.video.film import Film
from tests.video.results import film_frames, kept, result, run


def test_film_is_h264_at_the_rate_and_size(tmp_path):
    sink = Film(tmp_path / "a.mp4", 30000 / 1001)
    run(sink, range(40))
    stream, frames, times = film_frames(sink.path)
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert (stream.width, stream.height, stream.frames) == (64, 48, 40)
    assert np.allclose(times, np.arange(40) * 1001 / 30000, atol=1e-3)
    assert all(abs(int(frame[20, 20, 1]) - 4 * i) <= 3 for i, frame in enumerate(frames))
    content = sink.path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat") and b"moof" not in content
    assert sink.finished() == 40
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_film_of_frames_of_odd_and_changing_sizes(tmp_path):
    sink = Film(tmp_path / "a.mp4", 25)
    sink.start([])
    for size in ((47, 63), (47, 63), (94, 126), (100, 20)):
        sink.write(result(30, size=size))
    sink.close()
    _, frames, _ = film_frames(sink.path)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 4
    assert abs(int(frames[1][47, 63, 1]) - 120) <= 3  # the edge that was added repeats its neighbour
    assert frames[3][10, 60, 1] < 5 and abs(int(frames[3][10, 2, 1]) - 120) <= 6  # narrow picture, black beside


def test_film_of_a_live_clip_keeps_its_pace(tmp_path):
    sink = Film(tmp_path / "a.mp4", 10)
    sink.start([])
    for index, dropped in ((3, 3), (4, 0), (9, 4), (10, 0)):
        sink.write(replace(result(index), dropped=dropped))
    sink.close()
    _, frames, times = film_frames(sink.path)
    assert np.allclose(times, [0, 0.1, 0.6, 0.7], atol=1e-3)
    assert all(abs(int(frame[20, 20, 1]) - 4 * i) <= 3 for i, frame in zip((3, 4, 9, 10), frames))


@pytest.mark.parametrize("done", [1, 13, 40])
def test_film_goes_on_behind_the_frames_kept(tmp_path, done):
    run(Film(tmp_path / "a.mp4", 25), range(40))
    sink = Film(tmp_path / "a.mp4", 25)
    run(sink, range(done, 60), kept(done))
    stream, frames, times = film_frames(sink.path)
    assert stream.frames == 60
    assert np.allclose(np.diff(times), 0.04, atol=1e-3)
    assert all(abs(int(frame[20, 20, 1]) - 4 * i) <= 4 for i, frame in enumerate(frames))


def test_killed_film_plays_and_can_be_gone_on_with(tmp_path):
    sink = Film(tmp_path / "a.mp4", 10)
    sink.start([])
    for index in range(60):
        sink.write(result(index))
    copy = tmp_path / "killed.mp4"
    shutil.copy(sink.path, copy)  # what the disk holds when the process is killed
    copy.write_bytes(copy.read_bytes() + b"\0\0\xff\xffmoof and half a fragment")
    sink.close()
    again = Film(copy, 10)
    done = again.finished()
    assert 10 <= done == len(film_frames(copy)[1]) <= 60
    run(again, range(done, 60), kept(done))
    stream, frames, _ = film_frames(copy)
    assert stream.frames == 60
    assert all(abs(int(frame[20, 20, 1]) - 4 * i) <= 4 for i, frame in enumerate(frames))


def test_film_of_another_size_or_kind(tmp_path):
    with pytest.raises(InputError, match=r"\.mp4"):
        Film(tmp_path / "a.avi", 25)
    run(Film(tmp_path / "a.mp4", 25), range(5))
    sink = Film(tmp_path / "a.mp4", 25)
    sink.start(kept(3))
    with pytest.raises(InputError, match="different size"):
        sink.write(result(3, size=(20, 20)))
    sink.close()
    assert Film(tmp_path / "a.mp4", 25).finished() == 5
