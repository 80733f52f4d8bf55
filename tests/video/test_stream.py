"""run_clip: order, options, timing, resuming, broken frames, interruption, memory."""

from __future__ import annotations

import time
import tracemalloc

import cv2
import numpy as np
import pytest

from lib.bbox.detections import Detections
from lib.errors import InputError
from lib.video.clips import Clip, open_clip
from lib.video.film import Film
from lib.video.pictures import PictureFolder
from lib.video.records import JsonLines
from lib.video.sources import Frame
from lib.video.stream import run_clip
from tests.video.windows import CLASSES, Window, plain, records


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "clip"
    path.mkdir()
    for i in range(20):
        cv2.imwrite(str(path / f"{i:03d}.png"), np.full((24, 32, 3), (i * 37) % 256, np.uint8))
    return path


def test_frames_and_detections_stay_together(folder, tmp_path):
    sink = JsonLines(tmp_path / "d.jsonl", CLASSES)
    summary = run_clip(Window(0), open_clip(str(folder)), [sink], plain, progress=False)
    rows = records(sink.path)
    assert [row["frame"] for row in rows] == [f"{i:03d}.png" for i in range(20)]
    assert [row["detections"][0]["box"][0] for row in rows] == [(i * 37) % 256 for i in range(20)]
    assert (summary.finished, summary.worked) == (20, 20)


def test_threshold_and_classes_choose_what_is_written(folder, tmp_path):
    def scores(**options):
        sink = JsonLines(tmp_path / "d.jsonl", CLASSES)
        run_clip(Window(0), open_clip(str(folder), frames="0:1"), [sink], plain, progress=False, **options)
        return [found["score"] for found in records(sink.path)[0]["detections"]]

    assert scores() == [0.9]
    assert scores(threshold=0.31) == [0.9]
    assert scores(threshold=0.3) == [0.9, 0.3]
    assert scores(threshold=0.2, only=frozenset({2})) == [0.3]


def test_time_counts_the_detector_but_neither_loading_nor_warm_up(tmp_path):
    class Slow:
        fps, size, length, live, where = None, None, 6, False, "slow"

        def name_of(self, index):
            return str(index)

        def read(self, wanted):
            for index in wanted:
                time.sleep(0.05)
                yield Frame(index, str(index), np.zeros((4, 4, 3), np.uint8))

    first = [True]

    def detector(frames):
        if first.pop() if first else False:
            time.sleep(0.3)
        for _ in frames:
            time.sleep(0.02)
            yield Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))

    summary = run_clip(detector, Clip("x", Slow(), prefetch=1), [], plain, progress=False)
    assert summary.warmup_seconds > 0.3
    assert 0.02 <= summary.seconds_per_frame < 0.04


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 7, 19, 20])
def test_resumed_run_equals_a_single_one(folder, tmp_path, stop):
    """The window reaches back over the seam: the frames before it pass through the detector again."""
    whole, parts = (JsonLines(tmp_path / name, CLASSES) for name in ("whole", "parts"))
    run_clip(Window(3), open_clip(str(folder)), [whole], plain, progress=False)
    parts.path.write_text("".join(line for line in whole.path.read_text().splitlines(True)[:stop]))
    detector = Window(3)
    summary = run_clip(
        detector, open_clip(str(folder)), [parts], plain, context=lambda done: 3, warmup=0, resume=True, progress=False
    )
    assert parts.path.read_bytes() == whole.path.read_bytes()
    assert summary.finished == 20
    assert detector.seen == (0 if stop == 20 else 20 - stop + min(3, stop))


def test_resume_goes_on_behind_what_every_sink_holds(folder, tmp_path):
    sinks = [Film(tmp_path / "a.mp4", 25), JsonLines(tmp_path / "d", CLASSES)]
    run_clip(Window(1), open_clip(str(folder), frames="0:12"), sinks, plain, progress=False)
    sinks[1].path.write_text("".join(sinks[1].path.read_text().splitlines(True)[:7]))
    run_clip(Window(1), open_clip(str(folder)), sinks, plain, context=lambda done: 1, resume=True, progress=False)
    assert sinks[0].finished() == sinks[1].finished() == 20


def drifting(frames):
    """An object that moves, and one that goes and comes back too late. The picture's grey is the frame's number."""
    for frame in frames:
        i = int(frame[0, 0, 0]) * 173 % 256  # 37 * 173 is 1 modulo 256
        boxes = np.array([[i, 5.005, 20 + i, 24], [30 - i, 40, 60 - i, 80.333]], np.float32)[: 1 if 4 < i < 17 else 2]
        yield Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.ones(len(boxes), np.int32))


@pytest.mark.parametrize("stop", [1, 5, 10, 16, 18])
def test_tracks_go_on_in_a_resumed_run(folder, tmp_path, stop):
    whole, parts = (JsonLines(tmp_path / name, CLASSES) for name in ("whole", "parts"))
    run_clip(drifting, open_clip(str(folder)), [whole], plain, track=True, progress=False)
    tracks = [[found["track"] for found in row["detections"]] for row in records(whole.path)]
    assert tracks == [[1, 2]] * 5 + [[1]] * 12 + [[1, 3]] * 3
    parts.path.write_text("".join(whole.path.read_text().splitlines(True)[:stop]))
    options = {"track": True, "context": lambda done: 2, "warmup": 0, "resume": True, "progress": False}
    run_clip(drifting, open_clip(str(folder)), [parts], plain, **options)
    assert parts.path.read_bytes() == whole.path.read_bytes()


def test_tracks_cannot_go_on_from_a_film_alone(folder, tmp_path):
    film = Film(tmp_path / "a.mp4", 25)
    run_clip(drifting, open_clip(str(folder), frames="0:12"), [film], plain, track=True, progress=False)
    with pytest.raises(InputError, match="needs --json"):
        run_clip(drifting, open_clip(str(folder)), [film], plain, track=True, resume=True, progress=False)
    assert film.finished() == 12


def test_resume_without_anything_to_tell_where(folder, tmp_path):
    with pytest.raises(InputError, match="--resume"):
        run_clip(Window(), open_clip(str(folder)), [PictureFolder(tmp_path / "o")], plain, resume=True, progress=False)


def test_broken_frame_stops_with_everything_before_it_whole(folder, tmp_path):
    content = (folder / "010.png").read_bytes()
    (folder / "010.png").write_bytes(content[: len(content) // 2])
    sinks = [PictureFolder(tmp_path / "o"), Film(tmp_path / "a.mp4", 25), JsonLines(tmp_path / "d", CLASSES)]
    with pytest.raises(
        InputError, match=r"010\.png.*; 7 of 20 frames are finished, the last is 006\.png; continue with --resume"
    ):
        run_clip(Window(3), open_clip(str(folder)), sinks, plain, progress=False)
    assert len(records(sinks[2].path)) == sinks[1].finished() == len(list(sinks[0].path.iterdir())) == 7
    (folder / "010.png").write_bytes(content)
    run_clip(Window(3), open_clip(str(folder)), sinks, plain, context=lambda done: 3, resume=True, progress=False)
    assert len(records(sinks[2].path)) == sinks[1].finished() == len(list(sinks[0].path.iterdir())) == 20


def test_broken_first_frame_writes_nothing(folder, tmp_path):
    (folder / "000.png").write_bytes(b"no picture")
    sinks = [PictureFolder(tmp_path / "o"), Film(tmp_path / "o" / "a.mp4", 25), JsonLines(tmp_path / "d", CLASSES)]
    with pytest.raises(InputError, match="no frame is finished"):
        run_clip(Window(3), open_clip(str(folder)), sinks, plain, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_interrupt_closes_sinks_and_says_where(folder, tmp_path, caplog):
    class Interrupted:
        path = tmp_path / "x"

        def finished(self):
            return None

        def start(self, kept):
            pass

        def write(self, result):
            if result.index == 5:
                raise KeyboardInterrupt

        def close(self):
            pass

    sinks = [Film(tmp_path / "a.mp4", 25), Interrupted(), JsonLines(tmp_path / "d", CLASSES)]
    with pytest.raises(SystemExit) as stopped:
        run_clip(Window(0), open_clip(str(folder)), sinks, plain, progress=False)
    assert stopped.value.code == 130
    assert "5 of 20 frames are finished, the last is 004.png" in caplog.text
    assert len(records(sinks[2].path)) == 5 and sinks[0].finished() == 6
    sinks.pop(1)
    run_clip(Window(0), open_clip(str(folder)), sinks, plain, resume=True, progress=False)
    assert len(records(sinks[1].path)) == sinks[0].finished() == 20


def test_clip_that_is_not_live_reports_no_dropped_frames(folder, capsys):
    summary = run_clip(Window(0), open_clip(str(folder), frames="2:20:3"), [], plain)
    assert summary.dropped is None and "dropped" not in str(summary) + capsys.readouterr().err


def test_output_that_cannot_be_written(folder, tmp_path):
    (tmp_path / "file").write_text("")
    sink = JsonLines(tmp_path / "file" / "d.jsonl", CLASSES)
    with pytest.raises(InputError, match="cannot be written"):
        run_clip(Window(0), open_clip(str(folder)), [sink], plain, progress=False)


@pytest.mark.parametrize("change, message", [(-1, "no detections for the last 1 frames"), (1, "more detections")])
def test_detector_that_miscounts_is_found_out(folder, change, message):
    def detector(frames):
        found = list(Window(0)(frames))
        yield from found[:change] if change < 0 else found + found[:1]

    with pytest.raises(RuntimeError, match=message):
        run_clip(detector, open_clip(str(folder)), [], plain, warmup=0, progress=False)


def test_two_thousand_frames_take_constant_memory(tmp_path):
    """Frames of 0.3 MB: 2,000 of them are 590 MB; what stands at the peak is the window and the prefetched few."""

    class Endless:
        fps, size, length, live, where = None, None, 2000, False, "made up"

        def name_of(self, index):
            return f"{index:06d}.jpg"

        def read(self, wanted):
            for index in wanted:
                yield Frame(index, self.name_of(index), np.full((256, 384, 3), index % 256, np.uint8))

    sink = JsonLines(tmp_path / "d.jsonl", CLASSES)
    tracemalloc.start()
    try:
        summary = run_clip(Window(9), Clip("long", Endless()), [sink], plain, progress=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert summary.finished == sink.finished() == 2000
    frame = 256 * 384 * 3
    assert peak < (9 + 4 + 6) * frame


class Large:
    """A source of frames that take no memory, each of the same size."""

    fps, size, live, where = None, None, False, "large"

    def __init__(self, length, height, width):
        self.length, self.given = length, 0
        self.image = np.broadcast_to(np.uint8(0), (height, width, 3))

    def name_of(self, index):
        return str(index)

    def read(self, wanted):
        for index in wanted:
            self.given += 1
            yield Frame(index, str(index), self.image)


@pytest.mark.parametrize("height, width", [(1080, 1920), (2160, 3840), (2160, 4096)])
def test_full_size_frames_may_wait_for_the_longest_window(tmp_path, height, width):
    """FGFA with K = 9 and key frames 10 apart looks 18 frames ahead; a batch of 1 on a GPU is one frame late."""
    clip = Clip("x", Large(40, height, width))
    assert run_clip(Window(19), clip, [JsonLines(tmp_path / "a", CLASSES)], plain, progress=False).finished == 40


def test_frames_that_wait_have_a_limit_in_all(tmp_path):
    source = Large(20, 8190, 8190)
    sinks = [JsonLines(tmp_path / "a", CLASSES)]
    assert run_clip(Window(3), Clip("x", source), sinks, plain, progress=False).finished == 20
    source.given = 0
    message = "5 frames of 335380500 pixels must be kept at the same time, the limit is 268435456; shrink .* --max-size"
    with pytest.raises(InputError, match=message):
        run_clip(Window(9), Clip("x", source), sinks, plain, progress=False)
    assert source.given <= 5 + 3  # of the largest frames, only one is read ahead
