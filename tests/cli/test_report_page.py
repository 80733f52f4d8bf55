"""The page of a demo run, in a real browser, with the layers of --explain."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lib.bbox.detections import Detections
from lib.cli import report_page
from lib.cli.explain import Layers
from lib.cli.report_page import ReportPage
from lib.dataset.classes import ClassList
from lib.method import Explain, Layer
from lib.video.records import Result
from tests.eval.browser import browser
from tests.eval.test_report import EVIL, boxes, data_of, set_value
from tests.tiny import ROOT, refused, run_script

COLOURS = {"flow": (0, 0, 255), "weight": (255, 0, 0)}  # of maps


class Inside:
    def __init__(self, frame):
        self.frame = frame


def maps(details):
    """Two maps for each of three frames around this one; those of the next frame are green."""
    return [
        Layer(
            name,
            other,
            np.full((6, 8, 3), colour if other <= details.frame else (0, 255, 0), np.uint8),
            f"up to {other}",
        )
        for other in range(max(details.frame - 1, 0), details.frame + 2)
        for name, colour in COLOURS.items()
    ]


def write_page(path, frames=3, explained=None, folder="clip"):
    """A page of grey frames. explained: the frames with layers, empty for all."""
    classes = ClassList(["a", "b"], [EVIL, "plain"], [(0, 0, 0)] * 2)
    layers = None if explained is None else Layers(Explain("x", None, None, maps), explained)
    page = ReportPage(path, folder, classes, 0.25, "fgfa_rfcn", layers)
    page.start([])
    frame = (np.array([[5, 5, 30, 30], [40, 5, 60, 30]], np.float32), np.array([0.9, 0.4], np.float32),
             np.array([1, 2], np.int32), np.array([1, 2], np.int32))  # fmt: skip
    for index in range(frames):
        if layers:
            layers.watch(Inside(index))
        found = Detections(*(column[: index + 1] for column in frame), classes.names)
        image = np.full((60, 80, 3), 100, np.uint8)
        page.write(Result(index, f"{EVIL}{index}.jpg", image, found, lambda image, _: image))
    page.close()
    return path


def test_a_run_without_layers(tmp_path):
    write_page(tmp_path / "demo.html")
    with browser() as tab:
        tab.open(tmp_path / "demo.html")
        assert boxes(tab) == [1]
        tab.press("\ue014")
        assert boxes(tab) == [2]
        set_value(tab, "score", "0.5")
        assert boxes(tab) == [1]
        assert tab.run("return document.querySelectorAll('#strips rect').length") == 3
        assert tab.run("return getComputedStyle(document.getElementById('layer').parentNode).display") == "none"
        assert tab.messages() == []


def captions(tab):
    return tab.run("return [...document.querySelectorAll('#views figcaption')].map(e => e.textContent)")


def colour(tab, view):
    """Red, green and blue in the lower middle of a view, once it is painted."""
    script = f"""const canvas = document.querySelectorAll('#views canvas')[{view}];
        const pen = document.createElement("canvas").getContext("2d", {{ willReadFrequently: true }});
        pen.drawImage(canvas, -canvas.width / 2, -canvas.height * 0.9);
        return [...pen.getImageData(0, 0, 1, 1).data.slice(0, 3)]"""
    for _ in range(200):
        found = tab.run(script)
        if any(found):
            return found
    raise AssertionError("nothing was painted")


def near(found, expected):
    return max(abs(a - b) for a, b in zip(found, expected)) < 12


@pytest.mark.parametrize("options", [{}, {"dark": True, "width": 500}])
def test_layers_beside_the_frame_and_over_it(tmp_path, options):
    write_page(tmp_path / "demo.html", explained=[])
    with browser(**options) as tab:
        tab.open(tmp_path / "demo.html", "#clip=clip&frame=1")
        assert captions(tab) == [
            "fgfa_rfcn: 2 detections",
            f"frame {EVIL}0.jpg, -1",
            "flow, -1: up to 0",
            "weight, -1: up to 0",
        ]
        assert boxes(tab) == [2]
        assert [near(colour(tab, view), expected) for view, expected in
                ((1, (100, 100, 100)), (2, (255, 0, 0)), (3, (0, 0, 255)))] == [True] * 3  # fmt: skip
        assert tab.run("return [...document.getElementById('other').options].map(o => o.text)") == [
            "-1",
            "this frame",
            "+1",
        ]
        tab.press(".")
        tab.press(".")
        assert captions(tab)[1:3] == [f"frame {EVIL}2.jpg, +1", "flow, +1: up to 2"]
        tab.press(",")
        assert captions(tab)[2] == "flow, this frame: up to 1"
        set_value(tab, "other", "2")
        tab.press("\ue014")  # the next frame, and the one after it
        assert captions(tab)[2] == "flow, +1: up to 3"

        set_value(tab, "layer", "0")
        assert captions(tab) == ["fgfa_rfcn: 2 detections; flow, +1: up to 3"]
        assert near(colour(tab, 0), (40, 193, 40))
        set_value(tab, "layer", "")
        assert captions(tab) == ["fgfa_rfcn: 2 detections"]
        tab.press("\ue012")
        assert captions(tab) == ["fgfa_rfcn: 2 detections"] and near(colour(tab, 0), (100, 100, 100))
        assert tab.run("return document.querySelectorAll('script').length") == 2
        assert tab.run("return document.documentElement.scrollWidth <= window.innerWidth")
        assert tab.messages() == []


def test_frames_without_layers(tmp_path):
    write_page(tmp_path / "demo.html", frames=5, explained=[3])
    with browser() as tab:
        tab.open(tmp_path / "demo.html")
        assert captions(tab)[2] == "flow, -1: up to 2"  # the page begins at the frame that has layers
        strip = "return [...document.querySelectorAll('#strips figure:last-child title')].map(e => e.textContent)"
        assert tab.run(strip) == [f"layers, frame {EVIL}3.jpg"]
        tab.press("\ue011")
        assert captions(tab) == ["fgfa_rfcn: 1 detection", "no layers of this frame", "flow", "weight"]
        for key in (",", *["\ue014"] * 3):  # changes nothing here; then back to the frame with layers
            tab.press(key)
        assert captions(tab)[2] == "flow, -1: up to 2"
        assert tab.messages() == []


def test_layers_count_as_frames_do(tmp_path, monkeypatch):
    whole = data_of(write_page(tmp_path / "a.html", explained=[]))["clips"][0]
    sizes = [len(url) + sum(len(each[2]) for each in layers) for url, layers in zip(whole["images"], whole["layers"])]
    monkeypatch.setattr(report_page, "LIMIT", sizes[0] + sizes[1])
    data = data_of(write_page(tmp_path / "b.html", explained=[]))
    (clip,) = data["clips"]
    assert (clip["images"], clip["layers"]) == (whole["images"][:2] + [""], whole["layers"][:2] + [[]])
    assert "The last 1 frames have no picture or layers" in data["notes"][2]
    monkeypatch.setattr(report_page, "LIMIT", sum(map(len, whole["images"])))
    assert "The last" not in " ".join(data_of(write_page(tmp_path / "c.html"))["notes"])


CLIP = ROOT / "data/demo/MiniVID_val_0026"


def layers_of(data):
    """(name, frame) of the layers of each frame."""
    return [[(data["layers"][kind], other) for kind, other, *_ in layers] for layers in data["clips"][0]["layers"]]


def test_fgfa_has_the_flow_to_its_window_and_the_weights(tmp_path):
    options = ("--input", CLIP, "--frames", "0:4", "--set", "TEST.KEY_FRAME_INTERVAL=1")
    run_script(
        "fgfa_rfcn/demo.py", *options, "--output", tmp_path / "a.mp4", "--report", tmp_path / "a.html", "--explain"
    )
    data = data_of(tmp_path / "a.html")
    windows = [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]]
    assert layers_of(data) == [[(name, n) for n in window for name in ("flow", "weight")] for window in windows]
    values = [each[3] for each in data["clips"][0]["layers"][1]]
    assert all(text.startswith("up to ") and text.endswith(" cells") for text in values[::2])
    assert all(0 <= float(text.split(" to ")[1]) <= 1 for text in values[1::2])


def test_dff_has_the_flow_to_the_key_frame_and_the_scale_map(tmp_path):
    options = ("--input", CLIP, "--frames", "0:5", "--set", "TEST.KEY_FRAME_INTERVAL=3", "--output", tmp_path / "o")
    run_script("dff_rfcn/demo.py", *options, "--report", tmp_path / "a.html", "--explain", 2, 3)
    data = data_of(tmp_path / "a.html")
    assert layers_of(data) == [[], [], [("flow", 0), ("scale", 0)], [("flow", 3), ("scale", 3)], []]
    assert data["clips"][0]["layers"][3][0][3] == "up to 0.0 cells"  # a key frame
    assert sorted(path.name for path in (tmp_path / "o/explain").iterdir()) == [
        f"{number:06d}_{kind}.png" for number in (2, 3) for kind in ("boxes", "key")]  # fmt: skip


def test_several_clips_have_layers_each(tmp_path):
    for clip, count in (("one", 2), ("two", 3)):
        (tmp_path / clip).mkdir()
        for number in range(count):
            cv2.imwrite(str(tmp_path / clip / f"{number}.png"), np.full((64, 96, 3), 90, np.uint8))
    run_script("dff_rfcn/demo.py", "--input", tmp_path / "one", tmp_path / "two", "--set", "TEST.KEY_FRAME_INTERVAL=2",
               "--output", tmp_path / "o", "--report", tmp_path / "a.html", "--explain")  # fmt: skip
    for clip, keys in (("one", [0, 0]), ("two", [0, 0, 2])):
        assert [layers[0][1] for layers in layers_of(data_of(tmp_path / f"a-{clip}.html"))] == keys


def test_explain_without_frames_needs_a_report(tmp_path, capsys):
    line = refused(capsys, "fgfa_rfcn/demo.py", "--input", CLIP, "--output", tmp_path / "o", "--explain")
    assert "--explain: give the numbers of frames, or add --report, which then explains all frames" in line
    assert not (tmp_path / "o").exists()
