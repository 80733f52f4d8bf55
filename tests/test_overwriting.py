"""Commands refuse outputs that would replace an input or another output, before they read anything."""

from __future__ import annotations

import importlib
import os
import threading

import numpy as np
import pytest

from lib.dataset.exporting import coco
from lib.eval.detections import DetectionTable, write_detections

COMMANDS = [
    "lib.eval.vid_map --detections d --annotations ann --image-set i --json d",
    "lib.eval.vid_map --detections d --annotations ann --image-set i --json r.json --markdown link",
    "lib.eval.vid_map --detections d --annotations ann --image-set i --json r.json --markdown r.outcomes.npz",
    "lib.eval.vid_map --detections d --annotations ann --image-set i --json ann/a.json",
    "lib.eval.vid_map --detections d --annotations ann --image-set i --markdown p/motion_area.png --pictures p",
    "lib.eval.rescore --detections d --image-set i --out d",
    "lib.eval.compare a.json b.json --json b.json",
    "lib.eval.compare a.json b.json --json a.outcomes.npz",
    "lib.eval.errors a.json --json a.json",
    "lib.eval.report a.json b.json --out ./b.json",
    "lib.dataset.motion --annotations ann --image-set i --out ./i",
    "lib.cli.tracking --root root --results 1 d --mot .. --results ../2 d",
    "lib.cli.weights convert x.params x.params",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_outputs_replace_neither_inputs_nor_each_other(command, tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    os.symlink("r.json", "link")
    os.mkdir("../2")
    module, *argv = command.split()
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(module).main(argv)
    line = capsys.readouterr().err
    assert stopped.value.code == 2 and line.count("\n") == 1, line
    assert "choose another output" in line or "is given for two outputs" in line
    assert os.listdir() == ["link"]


@pytest.mark.parametrize("command", [
    "lib.cli.weights convert x.pth pipe.params",
    "experiments.side_by_side a b --out pipe.gif",
])  # fmt: skip
def test_pipes_that_cannot_be_written_are_refused_before_the_work(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    module, *argv = command.split()
    os.mkfifo(argv[-1])
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(module).main(argv)
    assert stopped.value.code == 2 and f"{argv[-1]}: is a pipe instead of a file" in capsys.readouterr().err


def test_detections_and_coco_files_go_to_pipes(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    table = DetectionTable(np.array([1]), np.int32([2]), np.array([0.5]), np.array([[1.0, 2, 3, 4]]))
    for write in (
        lambda: write_detections(tmp_path / "pipe", table, pipes=True),
        lambda: coco.write(tmp_path, [], tmp_path / "pipe"),
    ):
        reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
        reader.start()
        write()
        reader.join(10)
    assert read[0] == "1 2 0.5000 1.00 2.00 3.00 4.00\n" and '"images": []' in read[1]
