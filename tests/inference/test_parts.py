"""A test in parts: shared out, interrupted, continued and merged, it gives the files of a test in one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from lib.errors import InputError
from lib.inference.parts import Shard
from lib.machine import Task, task
from lib.methods import METHODS
from lib.minivid.settings import Settings
from lib.minivid.write import generate
from lib.nets import params
from lib.nets.flownet import is_flow_layer
from tests import tiny
from tests.tiny import ROOT, refused, run_script

VIDEOS = 5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    settings = Settings(seed=2, train=1, val=VIDEOS, frames=4, height=64, width=96)
    return generate(tmp_path_factory.mktemp("data") / "MiniVID", settings, workers=1, progress=False)


@pytest.fixture(scope="module", params=list(METHODS))
def test(request, dataset, tmp_path_factory):
    """(script, arguments, folder with the results of one process) of each method."""
    method, folder = request.param, tmp_path_factory.mktemp(request.param)
    cfg = tiny.write_experiment(folder, dataset, method, TEST={"SCORE_THRESH": 0.0})
    args, auxs = tiny.weights(tiny.settings(method, dataset={"NUM_CLASSES": 9}), method)
    if method == "rfcn":
        args = {name: value for name, value in args.items() if not is_flow_layer(name)}
    folded = {f"rfcn_bbox_{kind}{params.TEST_SUFFIX}": args[f"rfcn_bbox_{kind}"] for kind in ("weight", "bias")}
    params.save(folder / "net.params", {**args, **folded}, auxs)
    script = f"experiments/{method}/{method}_test.py"
    argv = ["--cfg", cfg, "--weights", folder / "net.params"]
    run_script(script, *argv, "--output", folder / "whole")
    return script, argv, folder / "whole"


def same(folder, other):
    """Compares all result files; the manifest also has the command and the time."""
    names = sorted(path.name for path in other.iterdir() if path.is_file())
    assert names == ["detections.txt", "results.json", "results.outcomes.npz"]
    for name in names:
        found, expected = ((each / name).read_bytes() for each in (folder, other))
        if name == "results.json":
            found, expected = json.loads(found), json.loads(expected)
            for each in (found, expected):
                assert each["manifest"].pop("command") and each["manifest"].pop("time")
                for file in each["manifest"]["detections"]:  # in another folder, with the same content
                    file.pop("path")
                each["manifest"].pop("git")  # whoever runs the tests may edit meanwhile
        assert found == expected and expected, name
    assert (other / "detections.txt").stat().st_size > 1000


def test_parts_give_the_files_of_one_process(test, tmp_path, capsys):
    script, argv, whole = test
    assert not (whole / "parts").exists()
    for number in (1, 3):
        run_script(script, *argv, "--output", tmp_path, "--shard", f"{number}/3")
    merge = ("--output", tmp_path, "--merge", tmp_path / "parts")
    assert not (tmp_path / "results.json").exists()
    line = refused(capsys, script, *argv, *merge)
    assert "videos have no detections, the first is" in line and "run the test with --shard 2/3 again" in line
    run_script(script, *argv, "--output", tmp_path, "--shard", "2/3")
    run_script(script, *argv, *merge, "--set", "network.pretrained=/elsewhere/net", f"output_path={tmp_path}/elsewhere")
    run_script(script, *argv, *merge)
    same(tmp_path, whole)
    line = refused(capsys, script, *argv, *merge, "--set", "TEST.NMS=0.5")
    assert "differs from this run in TEST.NMS; use the options of the original test, or delete the part" in line
    other = tmp_path / "other.params"
    args, auxs = params.load(argv[3])
    params.save(other, {**args, "rfcn_cls_bias": args["rfcn_cls_bias"] + 1}, auxs)
    assert "differs from this run in weights;" in refused(capsys, script, *argv[:2], "--weights", other, *merge)
    same(tmp_path, whole)


# The script, which kills itself when the detections of its second video are written, but have no name yet.
KILLED = """
import os, runpy, signal, sys

written = []


def hook(event, values):
    if event == "os.rename" and str(values[1]).endswith(".npy"):
        written.append(values[1])
        if len(written) == 2:
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(hook)
runpy.run_path(sys.argv[1])["main"](sys.argv[2:])
"""


@pytest.mark.parametrize("options", [[], ["--shard", "2/2"]])
def test_a_killed_test_continues_at_the_video_where_it_stopped(test, tmp_path, options, caplog):
    script, argv, whole = test
    command = [sys.executable, "-c", KILLED, ROOT / script, *argv, "--output", tmp_path, *options]
    killed = subprocess.run([str(each) for each in command], cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (part,) = (tmp_path / "parts").iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in part.glob("[0-9]*.npy")}
    (damaged,) = (part / name for name in before)
    with caplog.at_level("INFO"):
        if options:
            run_script(script, *argv, "--output", tmp_path, "--shard", "1/2")
        run_script(script, *argv, "--output", tmp_path, *options)
    assert f"continuing, {len(before)} of {2 if options else VIDEOS} videos are finished" in caplog.text
    if options:
        assert {name: (part / name).stat().st_mtime_ns for name in before} == before
        damaged.write_bytes(damaged.read_bytes()[:-3])
        with caplog.at_level("INFO"):
            run_script(script, *argv, "--output", tmp_path, *options)
        assert f"{damaged.name}: not a detection file" in caplog.text
        run_script(script, *argv, "--output", tmp_path, "--merge", tmp_path / "parts")
    else:
        assert not part.exists()
    same(tmp_path, whole)


def test_bad_parts(test, tmp_path, capsys):
    script, argv, _ = test
    argv = [*argv, "--output", tmp_path]
    for text in ("0/2", "3/2", "1", "a/b", "1/2/3"):
        assert f"--shard {text}: expected N/COUNT with 1 <= N <= COUNT" in refused(
            capsys, script, *argv, "--shard", text
        )
    assert f"the list has only {VIDEOS} videos" in refused(capsys, script, *argv, "--shard", "1/6")
    assert "contains no parts of a test" in refused(capsys, script, *argv, "--merge", tmp_path)
    run_script(script, *argv, "--shard", "1/1")
    (part,) = (tmp_path / "parts").iterdir()
    table = np.load(part / "000001.npy")
    table["frame"] += 100
    np.save(part / "000001.npy", table)
    merge = ("--merge", tmp_path / "parts")
    assert "000001.npy: detections of other frames" in refused(capsys, script, *argv, *merge)
    (part / "manifest.json").write_text("{}")
    assert "manifest.json: not the manifest of a part" in refused(capsys, script, *argv, *merge)


def test_parts_have_like_numbers_of_frames(dataset):
    class Video:
        def __init__(self, num_frames):
            self.num_frames = num_frames

    videos = [Video(int(n)) for n in np.random.default_rng(0).integers(6, 2900, 555)]
    shares = [Shard(n, 8).videos(videos) for n in range(1, 9)]
    assert sorted(n for share in shares for n in share) == list(range(555)) and all(
        share == sorted(share) for share in shares
    )
    frames = [sum(videos[n].num_frames for n in share) for share in shares]
    assert max(frames) - min(frames) < 0.001 * sum(frames)


@pytest.mark.parametrize("variables, expected", [
    ({}, None),
    ({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "0"}, Task(1, 4, 0)),
    ({"RANK": "3", "WORLD_SIZE": "4"}, Task(3, 4, 0)),
    ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_STEP_ID": "0"}, Task(5, 8, 1)),
    ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # a batch script, outside srun
])  # fmt: skip
def test_the_environment_says_which_part(monkeypatch, variables, expected):
    clean(monkeypatch, variables)
    assert task() == expected


def test_a_rank_beyond_the_number_of_processes(monkeypatch):
    clean(monkeypatch, {"RANK": "2", "WORLD_SIZE": "2"})
    with pytest.raises(InputError, match="RANK=2, WORLD_SIZE=2"):
        task()


def test_processes_of_a_launcher_share_the_videos(test, tmp_path, monkeypatch):
    script, argv, whole = test
    for rank in range(2):
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK") if "fgfa" in script else ("SLURM_PROCID", "SLURM_NTASKS")
        clean(monkeypatch, {"SLURM_STEP_ID": "0", **dict(zip(names, (str(rank), "2", str(rank))))})
        run_script(script, *argv, "--output", tmp_path)
    clean(monkeypatch, {})
    assert len(list((tmp_path / "parts").iterdir())) == 2
    run_script(script, *argv, "--output", tmp_path, "--merge", tmp_path / "parts")
    same(tmp_path, whole)


def clean(monkeypatch, variables):
    for name in list(os.environ):
        if name.startswith("SLURM_") or name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
