from __future__ import annotations

import functools
import http.server
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from lib.dataset import media
from lib.dataset.media import natural_key
from lib.errors import InputError
from lib.video import clips
from lib.video.clips import Clip, open_clip, open_clips, parse_frames
from lib.video.sources import Frame, VideoStream


def write_pictures(folder, names, size=(24, 32)):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((*size, 3), i * 10, np.uint8))
    return folder


def write_video(path, frames=12, size=(64, 48), rate=30, trimmed=0, options=None):
    """Frame i is grey of 10 i, modulo 256. trimmed: how many frames at the start are stored, but not shown."""
    with av.open(str(path), "w", options=options or {}) as film:
        stream = film.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        pictures = [np.full((size[1], size[0], 3), 10 * i % 256, np.uint8) for i in range(frames)]
        shown = [av.VideoFrame.from_ndarray(picture, format="bgr24") for picture in pictures]
        for packet in [packet for frame in (*shown, None) for packet in stream.encode(frame)]:
            shift = round(trimmed / (rate * packet.time_base))
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            film.mux(packet)
    return path


def names(clip):
    return [frame.name for frame in clip]


def test_numbers_sort_as_people_count():
    mixed = ["frame10.jpg", "frame2.jpg", "frame1.jpg", "000010.JPEG", "000002.JPEG", "a.jpg"]
    expected = ["000002.JPEG", "000010.JPEG", "a.jpg", "frame1.jpg", "frame2.jpg", "frame10.jpg"]
    assert sorted(mixed, key=natural_key) == expected


def test_folder_gives_its_pictures_in_order_and_nothing_else(tmp_path):
    folder = write_pictures(tmp_path / "clip", ["f10.png", "f2.png", "f1.png"])
    (folder / "notes.txt").write_text("x")
    (folder / ".f3.png").write_bytes(b"half a picture")
    clip = open_clip(str(folder))
    frames = list(clip)
    assert [frame.name for frame in frames] == ["f1.png", "f2.png", "f10.png"]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [20, 10, 0]
    assert (clip.name, clip.length, clip.fps, clip.live) == ("clip", 3, None, False)
    assert names(clip) == ["f1.png", "f2.png", "f10.png"]  # a clip can be read again


def test_pattern_and_list_of_pictures_are_one_clip_a_folder(tmp_path):
    write_pictures(tmp_path / "a", ["1.png", "2.png", "10.png"])
    write_pictures(tmp_path / "b", ["1.png"])
    assert names(open_clip(str(tmp_path / "a" / "1*.png"))) == ["1.png", "10.png"]
    assert names(open_clip(str(tmp_path / "a" / "2.png"))) == ["2.png"]
    assert open_clip(str(tmp_path / "a" / "2.png")).name == "2"
    listed = open_clips([str(tmp_path / "a" / f"{i}.png") for i in (10, 2, 1)])
    assert [names(clip) for clip in listed] == [["1.png", "2.png", "10.png"]]
    both = open_clips([str(tmp_path / "*" / "*.png")])
    assert [(clip.name, clip.length) for clip in both] == [("a", 3), ("1", 1)]
    assert [clip.name for clip in open_clips([str(tmp_path / "*")])] == ["a", "b"]


def test_what_is_named_like_a_picture_does_not_vanish(tmp_path):
    for make, reason in ((lambda path: path.symlink_to("nowhere"), "No such file"), (os.mkdir, "Is a directory")):
        folder = write_pictures(tmp_path / reason, ["1.png"])
        make(folder / "2.png")
        with pytest.raises(InputError, match=rf"2\.png: cannot read the image: {reason}"):
            names(open_clip(str(folder)))


def test_pattern_of_deep_folders(tmp_path):
    write_pictures(tmp_path / "a" / "b", ["2.png"])
    write_pictures(tmp_path / "a", ["1.png"])
    write_pictures(tmp_path / "a" / ".hidden", ["3.png"])
    found = open_clips([str(tmp_path / "**" / "a" / "**" / "*.png")])
    assert [names(clip) for clip in found] == [["1.png"], ["2.png"]]
    for number in (1, 2):  # with two, `glob` would not end
        (tmp_path / "a" / "b" / f"up{number}").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="b/up1: is a symbolic link to a folder above it"):
        open_clips([str(tmp_path / "**" / "*.png")])


def test_folder_whose_name_looks_like_a_pattern(tmp_path):
    folder = write_pictures(tmp_path / "clip[1]", ["1.png"])
    assert names(open_clip(str(folder))) == ["1.png"]


def test_clips_of_the_same_name_get_different_ones(tmp_path):
    paths = [str(write_pictures(tmp_path / parent / "clip", ["1.png"])) for parent in "ab"]
    assert [clip.name for clip in open_clips(paths)] == ["clip", "clip-2"]


@pytest.mark.parametrize(
    "text, expected",
    [("100:200:2", (100, 200, 2)), ("5:", (5, None, 1)), (":7", (0, 7, 1)), ("::3", (0, None, 3)), ("7", (7, 8, 1))],
)
def test_frames_option(text, expected):
    assert parse_frames(text) == expected


@pytest.mark.parametrize("text", ["", "a:b", "-5:", "3:3", "5:2", "::0", "1:2:3:4", "1.5:3"])
def test_frames_option_that_means_nothing(text):
    with pytest.raises(InputError, match="--frames"):
        parse_frames(text)


def test_slices_keep_the_numbers_of_the_source(tmp_path):
    folder = write_pictures(tmp_path / "clip", [f"{i}.png" for i in range(10)])
    video = write_video(tmp_path / "film.mp4")
    for source in (folder, video):
        clip = open_clip(str(source), frames="2:9:3")
        assert [frame.index for frame in clip] == [2, 5, 8]
        assert clip.length == 3
        assert [frame.index for frame in clip.skip(1)] == [5, 8]
        assert clip.name_at(1) == [frame.name for frame in clip][1]
    assert open_clip(str(video), frames="2:9:3").fps == 10.0
    with pytest.raises(InputError, match="has only 10 frames"):
        open_clip(str(folder), frames="10:12")


def test_video_gives_its_frames_and_rate(tmp_path):
    clip = open_clip(str(write_video(tmp_path / "film.mp4", rate=30)))
    frames = list(clip)
    assert (clip.name, clip.length, clip.fps, clip.live) == ("film", 12, 30.0, False)
    assert frames[3].name == "000003.jpg" and frames[3].image.shape == (48, 64, 3)
    assert all(abs(int(frame.image[20, 20, 1]) - 10 * frame.index) <= 3 for frame in frames)


def test_trimmed_video_has_the_frames_that_players_show(tmp_path):
    """Trimming without encoding again leaves frames from the last key frame on, which the header counts too."""
    clip = open_clip(str(write_video(tmp_path / "film.mp4", 20, trimmed=8)))
    frames = list(clip)
    assert [frame.index for frame in frames] == list(range(12)) and clip.length is None
    assert all(abs(int(frame.image[20, 20, 1]) - 10 * (frame.index + 8)) <= 3 for frame in frames)


def test_video_without_its_end_is_broken(tmp_path):
    path = write_video(tmp_path / "film.mp4", 200, rate=10, options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[:-1000])
    clip = open_clip(str(path))
    assert clip.length == 200
    with pytest.raises(InputError, match=r"film.mp4: broken"):
        list(clip)


def test_folder_of_videos_is_a_clip_each(tmp_path):
    write_video(tmp_path / "b.mp4", 2)
    write_video(tmp_path / "a.mp4", 3)
    assert [(clip.name, clip.length) for clip in open_clips([str(tmp_path)])] == [("a", 3), ("b", 2)]
    with pytest.raises(InputError, match="contains 2 clips"):
        open_clip(str(tmp_path))


def test_large_frames_are_shrunk_and_small_ones_left(tmp_path):
    folder = write_pictures(tmp_path, ["1.png"], size=(40, 100))
    assert next(iter(open_clip(str(folder), max_size=50))).image.shape == (20, 50, 3)
    assert next(iter(open_clip(str(folder), max_size=200))).image.shape == (40, 100, 3)


@pytest.mark.parametrize("make, message", [
    (lambda path: path / "nowhere", "no such file"),
    (lambda path: path, "contains no picture or video"),
    (lambda path: path / "*.png", "nothing matches"),
])  # fmt: skip
def test_input_that_is_not_there(tmp_path, make, message):
    with pytest.raises(InputError, match=message):
        open_clip(str(make(tmp_path)))


def test_path_that_is_misspelt_or_elsewhere(tmp_path):
    (tmp_path / "IMG_0042.MOV").write_bytes(b"")
    for name, message in (
        ("img_042.mov", rf"no such file or folder; did you mean {tmp_path}/IMG_0042\.MOV\?"),
        ("holiday.mp4", rf"no such file or folder in {tmp_path}; give the full path"),
        ("film/a.mp4", rf"no such file or folder; there is no folder {tmp_path}/film"),
    ):
        with pytest.raises(InputError, match=message):
            open_clip(str(tmp_path / name))


def test_folder_of_clips_is_distinguished_from_an_empty_one(tmp_path):
    write_pictures(tmp_path / "clip", ["1.png"])
    with pytest.raises(InputError, match=r"use '.*/\*' for its subfolders"):
        open_clip(str(tmp_path))


@pytest.mark.parametrize("name, content", [("a.mp4", b"no video " * 99), ("a.mp4", b""), ("a.txt", b"text\n" * 99)])
def test_files_that_are_no_video(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a video or picture"):
        open_clip(str(path))


@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "file:///a.mp4"])
@pytest.mark.parametrize(
    "content",
    [
        "ffconcat version 1.0\nfile pipe.ts\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\npipe.ts\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        '<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-live:2011"/>',
    ],
    ids=["concat", "hls", "sdp", "dash"],
)
def test_playlist_is_no_video_file(tmp_path, monkeypatch, name, content):
    """Whatever its suffix: the files that it names may be pipes, from which FFmpeg would read forever."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.ts")
    Path(name.rpartition("/")[2]).write_text(content)
    with pytest.raises(InputError, match="not a video or picture"):
        open_clip(name.replace("file://", f"file://{tmp_path}"))


def test_file_named_like_an_address_of_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "film.mp4", 3).rename("pipe:0.mp4")
    assert [frame.index for frame in open_clip("pipe:0.mp4")] == [0, 1, 2]


def test_addresses_may_be_playlists(tmp_path):
    write_video(tmp_path / "film.ts", 25)
    write_video(tmp_path / "film.mkv", 25)
    (tmp_path / "live.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfilm.ts\n#EXT-X-ENDLIST\n")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("film.mkv", "film.ts", "live.m3u8"):
            assert list(open_clip(f"http://127.0.0.1:{server.server_port}/{name}"))  # live, so some may be dropped
        server.shutdown()


def test_cut_video_is_an_error_after_its_last_frame(tmp_path):
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as film:
        stream = film.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        noise = np.random.default_rng(0)
        for _ in range(20):
            picture = noise.integers(0, 255, (48, 64, 3), np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        film.mux(stream.encode(None))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    seen = []
    with pytest.raises(InputError, match=r"film\.mp4: (cut or )?broken"):
        seen.extend(frame.index for frame in open_clip(str(path)))
    assert 0 < len(seen) < 20 and seen == list(range(len(seen)))


def test_broken_picture_comes_in_its_place(tmp_path):
    folder = write_pictures(tmp_path, ["1.jpg", "2.jpg", "3.jpg"], size=(64, 64))
    content = (folder / "3.jpg").read_bytes()
    (folder / "3.jpg").write_bytes(content[: len(content) // 2])
    seen = []
    with pytest.raises(InputError, match=r"3\.jpg"):
        seen.extend(frame.name for frame in open_clip(str(folder)))
    assert seen == ["1.jpg", "2.jpg"]


def test_address_without_a_server_and_camera_that_is_not_there():
    with pytest.raises(InputError, match="cannot be opened"):
        open_clip("rtsp://127.0.0.1:9/stream")
    with pytest.raises(InputError, match="camera 97"):
        open_clip("97")


def test_telephone_film_is_turned_upright(tmp_path):
    lying = np.zeros((48, 64, 3), np.uint8)
    lying[:24] = 250  # bright above while lying

    class Turned:
        rotation = 90

        def to_ndarray(self, format):  # noqa: A002
            return lying

    upright = media.upright(Turned())
    assert upright.shape == (64, 48, 3)
    assert upright[:, 2].min() == 250 and upright[:, -2].max() == 0  # a quarter against the clock: above becomes left


class Counted:
    """A source of `total` frames that counts how many were asked for."""

    fps, where, given = None, "counted", 0

    def __init__(self, total, live=False, wait=0.0):
        self.length, self.live, self.wait = total, live, wait

    def name_of(self, index):
        return str(index)

    def read(self, wanted):
        for index in wanted:
            self.given += 1
            time.sleep(self.wait)
            yield Frame(index, str(index), np.zeros((2, 2, 3), np.uint8))


def test_reading_ahead_is_bounded_and_its_thread_ends():
    source = Counted(1000)
    before = threading.active_count()
    frames = iter(Clip("x", source, prefetch=4))
    assert next(frames).index == 0
    time.sleep(0.1)
    assert source.given <= 7
    frames.close()
    assert threading.active_count() == before


def test_live_source_drops_the_oldest():
    source = Counted(40, live=True, wait=0.002)
    frames = iter(Clip("x", source, prefetch=2))
    first = next(frames).index
    while source.given < 40:  # a slow detector
        time.sleep(0.01)
    time.sleep(0.1)  # until the last one has come
    assert first < 38 and [frame.index for frame in frames] == [38, 39]


def test_played_clip_gives_each_frame_at_its_time(monkeypatch):
    """Reading takes 0.01 s a frame by a clock that only reading and sleeping move, and 0.3 s where the disk hangs."""
    now, given = [5.0], []

    class Source(Counted):
        def read(self, wanted):
            for frame in super().read(wanted):
                now[0] += 0.3 if frame.index == 6 else 0.01
                yield frame

    def sleep(seconds):
        now[0] += seconds

    clip = Clip("x", Source(20), start=2, stop=14, step=2, pace=10)
    assert clip.live and not replace(clip, pace=None).live
    monkeypatch.setattr(clips, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    for frame in clip._frames():
        given.append((frame.index, round(now[0] - 5, 6)))
    assert given == [(2, 0.01), (4, 0.1), (6, 0.4), (8, 0.41), (10, 0.42), (12, 0.5)]


def test_stream_of_unknown_length():
    clip = Clip("x", VideoStream("http://there/a", None, None, True), start=5, step=2)
    assert clip.length is None and clip.numbers[1] == 7 and clip.name_at(1) == "000007.jpg"
