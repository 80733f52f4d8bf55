"""Live clips: frames that are dropped to keep up, and how they end."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from lib.errors import InputError
from lib.video.clips import Clip
from lib.video.film import Film
from lib.video.records import JsonLines
from lib.video.sources import Frame
from lib.video.stream import run_clip
from tests.video.windows import CLASSES, Window, plain, records


class Camera:
    """A live source, and its sink. It gives a frame when the one before is written, but those of `soon` all at once
    when the detector is `busy`."""

    fps, size, length, live, where, path = 25.0, None, None, True, "camera", "sink"

    def __init__(self, total, soon=()):
        self.total, self.soon, self.busy = total, soon, False
        self.written, self.given, self.changed = [], 0, threading.Condition()

    def name_of(self, index):
        return f"{index:06d}.jpg"

    def read(self, wanted):
        for index in range(self.total):
            if index in self.soon:
                self.wait(lambda: self.busy)
            elif index:
                self.wait(lambda: index - 1 in self.written)  # noqa: B023
            yield Frame(index, self.name_of(index), np.full((24, 32, 3), index, np.uint8))
            with self.changed:
                self.given = index + 1
                self.changed.notify_all()

    def wait(self, until):
        with self.changed:
            assert self.changed.wait_for(until, timeout=10)

    def work(self):
        with self.changed:
            self.busy = True
            self.changed.notify_all()

    def start(self, kept):
        pass

    def write(self, result):
        with self.changed:
            self.written.append(result.index)
            self.changed.notify_all()

    def close(self):
        pass


def test_live_frame_is_written_before_the_next_one_arrives():
    camera = Camera(12)
    summary = run_clip(Window(0), Clip("x", camera), [camera], plain, progress=False)
    assert camera.written == list(range(12))
    assert (summary.finished, summary.dropped) == (12, 0)


def test_live_clip_drops_frames_and_reports_which(tmp_path, capsys):
    """While the detector is at frame 3, frames 4 to 13 come; the last 2 of them wait for it."""

    def detector(frames):
        for frame in frames:
            if frame[0, 0, 0] == 3:
                camera.work()
                camera.wait(lambda: camera.given == 14)
            yield from Window(0)([frame])

    camera, sink = Camera(16, soon=range(4, 14)), JsonLines(tmp_path / "d.jsonl", CLASSES)
    summary = run_clip(detector, Clip("x", camera, prefetch=2), [sink, camera], plain)
    assert camera.written == [row["index"] for row in records(sink.path)] == [0, 1, 2, 3, 12, 13, 14, 15]
    assert records(sink.path)[4]["frame"] == "000012.jpg"
    assert (summary.finished, summary.dropped) == (8, 8)
    assert "8 frames" in str(summary) and "8 of 16 dropped to keep up" in str(summary)
    assert "dropped=8" in capsys.readouterr().err


def test_interrupt_is_the_end_of_a_live_clip(tmp_path):
    class Interrupted(Camera):
        def write(self, result):
            if result.index == 5:
                raise KeyboardInterrupt
            super().write(result)

    camera = Interrupted(10)
    sinks = [Film(tmp_path / "a.mp4", 25), JsonLines(tmp_path / "d", CLASSES), camera]
    summary = run_clip(Window(0), Clip("x", camera), sinks, plain, progress=False)
    assert summary.stopped and "5 frames" in str(summary) and "stopped by Ctrl-C" in str(summary)
    assert sinks[0].finished() == len(records(sinks[1].path)) == 6  # they come before the one that was interrupted
    with pytest.raises(InputError, match="is live and cannot be resumed"):
        run_clip(Window(0), Clip("x", camera), sinks, plain, resume=True, progress=False)


def test_live_clip_that_breaks_off_offers_no_resume():
    class Broken(Camera):
        def read(self, wanted):
            yield from super().read(wanted)
            raise InputError("camera: no more frames after the first 4")

    camera = Broken(4)
    with pytest.raises(InputError, match=r"4 frames are finished, the last is 000003\.jpg$"):
        run_clip(Window(0), Clip("x", camera), [camera], plain, progress=False)
