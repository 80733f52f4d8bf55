"""Commands refuse outputs that would replace an input or another output, before they read anything."""

from __future__ import annotations

import importlib
import os

import pytest

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
