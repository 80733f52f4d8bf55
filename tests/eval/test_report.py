"""The report, in a real browser: numbers of boxes, scrubbing, filters, keys, links, and names that look like markup."""

from __future__ import annotations

import base64
import json
import os
import re
import time

import cv2
import numpy as np
import pytest

from lib.errors import InputError
from lib.eval import report, report_data, vid_map
from tests.eval.browser import browser

CLIPS, FRAMES = ("val/easy", "val/hard<script>alert(1)<"), 4
EVIL = "<script>document.title='evil'</script>"
XML = """<annotation><folder>x</folder><filename>{frame}</filename><size><width>200</width><height>120</height></size>
<object><trackid>0</trackid><name>n1</name><bndbox><xmax>99</xmax><xmin>20</xmin><ymax>99</ymax><ymin>20</ymin></bndbox>
<occluded>0</occluded><generated>0</generated></object>
<object><trackid>1</trackid><name>n2</name><bndbox><xmax>189</xmax><xmin>120</xmin><ymax>99</ymax><ymin>30</ymin></bndbox>
<occluded>0</occluded><generated>0</generated></object></annotation>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two clips of 4 frames with two objects, and two results: one finds all, the other makes errors in the second."""
    root = tmp_path_factory.mktemp("report")
    (root / "ImageSets").mkdir()
    (root / "classes.txt").write_text(f"n1 {EVIL.replace(' ', '')}\nn2 plain\n")
    lines, good, bad = [], [], []
    for c, clip in enumerate(CLIPS):
        for kind in ("Annotations", "Data"):
            (root / kind / "VID" / clip).mkdir(parents=True)
        for frame in range(FRAMES):
            number = c * FRAMES + frame + 1
            lines.append(f"{clip}/{frame:06d} {number}")
            (root / "Annotations/VID" / clip / f"{frame:06d}.xml").write_text(XML.format(frame=frame))
            picture = cv2.imencode(".jpg", np.full((120, 200, 3), 40 * frame, np.uint8))[1]
            (root / "Data/VID" / clip / f"{frame:06d}.JPEG").write_bytes(picture.tobytes())
            both = [f"{number} 1 0.9000 20 20 99 99", f"{number} 2 0.8000 120 30 189 99"]
            good += both
            if c == 0:
                bad += both
            else:  # a duplicate and a wrong class; n2 is missed; a background detection with a score below 0.5
                bad += [both[0], f"{number} 1 0.7000 21 20 99 99", f"{number} 1 0.6000 120 30 189 99",
                        f"{number} 2 0.3000 0 0 9 9"]  # fmt: skip
    (root / "ImageSets/frames.txt").write_text("\n".join(lines) + "\n")
    for name, rows in (("good", good), ("bad", bad)):
        (root / f"{name}.txt").write_text("\n".join(rows) + "\n")
        words = ["--detections", root / f"{name}.txt", "--annotations", root / "Annotations/VID", "--image-set",
                 root / "ImageSets/frames.txt", "--json", root / f"{name}.json", "--cache", root / "cache"]  # fmt: skip
        vid_map.main([str(word) for word in words])
    make(root, root / "report.html")
    return root


def make(root, out, *words, results=("bad", "good")):
    files = [str(root / f"{name}.json") for name in results]
    names = ["--names", "bad", EVIL] if len(results) == 2 else []
    fixed = ["--out", str(out), "--bootstrap", "20", "--cache", str(root / "cache"), "--title", f"T {EVIL}"]
    report.main([*files, *names, *fixed, *map(str, words)])


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.S).group(1))


def boxes(tab):
    return tab.run("return [...document.querySelectorAll('figure[data-boxes]')].map(f => Number(f.dataset.boxes))")


def wait_until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def set_value(tab, name, value):
    tab.run(
        f"const e = document.getElementById('{name}'); e.value = {json.dumps(value)};"
        "e.dispatchEvent(new Event('input', {bubbles: true})); e.dispatchEvent(new Event('change', {bubbles: true}))"
    )


def clip_of(tab):
    return tab.run("return document.getElementById('clip').selectedOptions[0].text").partition(" (F1")[0]


@pytest.mark.parametrize("options", [{}, {"dark": True, "width": 500}])
def test_the_page_in_a_browser(folder, options):
    with browser(**options) as tab:
        tab.open(folder / "report.html")
        assert tab.run("return document.getElementById('clip').selectedOptions[0].text").startswith(CLIPS[1])
        assert boxes(tab) == [2, 3, 2]  # objects, then both methods from a score of 0.5
        captions = tab.run("return [...document.querySelectorAll('#views figcaption')].map(e => e.textContent)")
        assert captions == ["Ground truth: 2 objects", "bad: 3 detections", f"{EVIL}: 2 detections"]
        set_value(tab, "score", "0.2")
        assert boxes(tab) == [2, 4, 2]
        set_value(tab, "kind", "background")
        assert boxes(tab) == [2, 1, 0]
        set_value(tab, "kind", "duplicate")
        assert boxes(tab) == [2, 1, 0]
        set_value(tab, "kind", "classification")
        label = tab.run("return document.querySelectorAll('#views canvas')[1].getAttribute('aria-label')")
        assert label.endswith(" 0.60 classification")
        set_value(tab, "kind", "")
        set_value(tab, "class", "1")
        assert boxes(tab) == [1, 1, 1]
        set_value(tab, "class", "")
        set_value(tab, "score", "0.85")
        assert boxes(tab) == [2, 1, 1]

        tab.press("\ue014")  # right
        tab.press("\ue014")
        assert "frame 000002, 3 of 4" in tab.run("return document.getElementById('where').textContent")
        set_value(tab, "frame", "3")
        assert "4 of 4" in tab.run("return document.getElementById('where').textContent")
        link = tab.run("return document.getElementById('link').getAttribute('href')")
        tab.press("n")
        assert clip_of(tab) == CLIPS[0]
        tab.open(folder / "report.html", link)
        assert clip_of(tab) == CLIPS[1] and "4 of 4" in tab.run("return document.getElementById('where').textContent")
        set_value(tab, "sort", "gain")
        assert clip_of(tab) == CLIPS[1]
        set_value(tab, "sort", "name")
        assert clip_of(tab) == CLIPS[0]

        # The worst video is a link to the clip.
        tab.run("document.querySelector('#tables details').open = true; document.querySelector('#tables td a').click()")
        wait_until(lambda: clip_of(tab) == CLIPS[1])
        shaded = "return [...document.querySelectorAll('#tables td[style]')].map(e => e.textContent)"
        assert tab.run(shaded)[:6] == ["8", "0", "0", "4", "4", "0"]  # n1 and n2 in the confusion matrix

        # Names are text: no element was made of them, and no script ran.
        assert tab.run("return document.title") == f"T {EVIL}"
        assert tab.run("return document.querySelectorAll('script').length") == 2
        assert tab.run("return document.documentElement.scrollWidth <= window.innerWidth")
        assert tab.messages() == []


def test_strips_show_where_objects_were_found(folder):
    with browser() as tab:
        tab.open(folder / "report.html")
        count = "return [...document.querySelectorAll('#strips svg')].map(s => s.querySelectorAll('rect').length)"
        assert tab.run(count) == [8, 8]
        titles = (
            "return [...document.querySelectorAll('#strips svg')[0].querySelectorAll('title')].map(t => t.textContent)"
        )
        found = tab.run(titles)
        assert sum(title.endswith("missed") for title in found) == 4
        assert sum(title.endswith(": found") for title in found) == 4


def test_content_without_a_browser(folder):
    data = data_of(folder / "report.html")
    hard = next(clip for clip in data["clips"] if clip["name"] == CLIPS[1])
    assert hard["f1"] == [pytest.approx(2 * 4 / (2 * 4 + 8 + 4), abs=1e-4), 1.0]
    assert [data["kinds"][found[6]] for found in hard["detections"][0][0]] == [
        "true", "duplicate", "classification", "background"]  # fmt: skip
    assert [each[6:] for each in hard["objects"][0]] == [[0.9, 0.9], [-1.0, 0.8]]
    assert all(url.startswith("data:image/") for url in hard["images"])
    assert EVIL not in (folder / "report.html").read_text()


def test_frames_can_be_linked_left_out_or_limited(folder, tmp_path):
    make(folder, folder / "link.html", "--frames", "link", results=("bad",))
    assert data_of(folder / "link.html")["clips"][0]["images"][1] == "Data/VID/val/easy/000001.JPEG"
    make(folder, tmp_path / "none.html", "--frames", "none")
    assert data_of(tmp_path / "none.html")["clips"][0]["images"] == []
    size = sum(map(len, data_of(folder / "report.html")["clips"][1]["images"]))
    make(folder, tmp_path / "some.html", "--limit", (size + 10) / 1e6)
    data = data_of(tmp_path / "some.html")
    assert [len(clip["images"]) for clip in data["clips"]] == [0, FRAMES]  # the worst clip has its frames
    assert "The frames of 1 of 2 clips are left out" in data["notes"][2]


def test_embedded_frames_are_shrunk_and_never_larger_than_their_files(folder, tmp_path):
    make(folder, tmp_path / "small.html", "--side", 100)
    data = data_of(tmp_path / "small.html")
    assert "with at most 100 pixels a side" in data["notes"][1]
    for url in data["clips"][0]["images"]:
        kind, _, content = url.partition(";base64,")
        image = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
        assert kind == "data:image/webp" and image.shape == (60, 100, 3)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (120, 200, 3), np.uint8)
    file = tmp_path / "noise.JPEG"
    file.write_bytes(cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 20])[1].tobytes())
    assert base64.b64decode(report_data.embedded(file, 200).partition(",")[2]) == file.read_bytes()


@pytest.mark.parametrize("words", [["--limit", "nan"], ["--limit", "-1"], ["--side", "0"], ["--side", "-5"]])
def test_options_out_of_range(capsys, words):
    with pytest.raises(SystemExit) as stop:
        report.main(["a.json", "--out", "r.html", *words])
    assert stop.value.code == 2 and f"argument {words[0]}: {words[1]} is " in capsys.readouterr().err


def test_frame_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.JPEG")
    with pytest.raises(InputError, match="pipe"):
        report_data.embedded(tmp_path / "a.JPEG", 100)


def test_results_of_other_objects_and_repeated_names_are_rejected(folder, tmp_path, capsys):
    short = tmp_path / "short.txt"
    short.write_text("\n".join((folder / "ImageSets/frames.txt").read_text().splitlines()[:3]) + "\n")
    words = ["--detections", folder / "good.txt", "--annotations", folder / "Annotations/VID", "--image-set", short,
             "--json", tmp_path / "short.json"]  # fmt: skip
    vid_map.main([str(word) for word in (*words, "--cache", tmp_path)])
    for extra, message in (([], "are not of the same objects and ranges; evaluate both on one image set"),
                           (["--names", "a", "a"], "--names a a: give 2 different names")):  # fmt: skip
        with pytest.raises(SystemExit):
            report.main([str(folder / "good.json"), str(tmp_path / "short.json"), "--out", "x.html", *extra])
        assert message in capsys.readouterr().err
