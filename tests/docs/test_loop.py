"""The commands of docs/loop.md, on videos of MiniVID's clips. CVAT is not run: true annotations are the corrections."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import cv2
import pytest

from lib.dataset.exporting import command
from tests.cli.test_demo_exports import film_of
from tests.tiny import ROOT

COMMANDS = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CLIPS = {"a": "MiniVID_val_0002", "b": "MiniVID_val_0005", "c": "MiniVID_val_0008"}  # the last is held out
NEW = {"d": "MiniVID_val_0003"}  # in the second round
FRAMES = 10


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout without results, with videos and what corrections will be made."""
    for path in ROOT.iterdir():
        if path.name not in ("output", ".git", "data", "experiments", "build"):
            (tmp_path / path.name).symlink_to(path)
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")  # new_experiment writes there
    put_films(tmp_path, CLIPS)
    (tmp_path / "held_out.txt").write_text("c\n")
    options = ["--format", "cvat", "--root", str(ROOT / "data/minivid_val"), "--out", str(tmp_path / "true")]
    command.main(options)
    (tmp_path / "corrected").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put_films(folder, clips):
    for name, clip in clips.items():
        paths = sorted((ROOT / "data/minivid_val/Data/VID/val" / clip).iterdir())[:FRAMES]
        film_of(folder / f"videos/{name}.mp4", [cv2.imread(str(path)) for path in paths])


def correct(folder, clips):
    """Stands in for step 2: the true tracks of the videos, as CVAT exports them, in place of those detected."""
    for name, clip in clips.items():
        tree = ElementTree.parse(folder / f"true/val/{clip}.xml")
        tree.find("meta/task/size").text = str(FRAMES)
        for track in tree.findall("track"):
            for box in track.findall("box"):
                if int(box.get("frame")) >= FRAMES:
                    track.remove(box)
        tree.write(folder / f"corrected/{name}.xml", encoding="utf-8")


def run(line):
    """Runs a line of the page in a shell, with less training, and returns what it prints."""
    line = line.replace("--steps 600", "--steps 20")
    script = f'set -e\npython() {{ "{sys.executable}" "$@"; }}\n{line}\n'
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.timeout(1500)
def test_every_command_of_the_page(checkout):
    page = (ROOT / "docs/loop.md").read_text(encoding="utf-8")
    lines = [line for block in COMMANDS.findall(page) for line in block.splitlines()]
    assert len(lines) == 19 and all(line.startswith("python ") for line in lines)
    printed = {}
    for line in lines:
        if "lib.cli.tracking" in line and importlib.util.find_spec("trackeval") is None:
            continue
        if "--input videos/d.mp4" in line:
            put_films(checkout, NEW)
            printed_by_training = next(text for line, text in printed.items() if "end2end" in line)
            path = re.findall(r"^weights (\S+\.params), ", printed_by_training, re.MULTILINE)[-1]
            line, count = re.subn(r"(?<=--weights )\S+", path, line)
            assert count == 1
        if "import_cvat" in line:
            correct(checkout, NEW if "mine2" in line else CLIPS)
        printed[line] = run(line)
    assert (checkout / "output/loop/second.xml").is_file()
    boxes = 0
    for name in CLIPS:
        assert '"layers":["flow","weight"]' in (checkout / f"output/loop/flow-{name}.html").read_text()
        boxes += (checkout / f"output/loop/first-{name}.xml").read_text().count("<box ")
    assert boxes > 0
    first, second = (text for line, text in printed.items() if "import_cvat" in line)
    assert "2 videos for training, 1 for testing, with 30 frames" in first
    assert "3 videos for training, 1 for testing, with 40 frames" in second
    compared = [text for line, text in printed.items() if "lib.eval.compare" in line]
    assert len(compared) == 2
    for text in compared:
        assert "B - A, points of average precision" in text and "umbrella" in text
        assert "]*" not in text and "No * where fewer than 5 videos have objects" in text
    content = json.loads((checkout / "output/loop/mine.json").read_text())
    assert len(content["images"]) == 30
    assert len(list((checkout / "output/loop/exported").rglob("*.xml"))) == 3
