"""The doctor goes on whatever is broken, and names a remedy for each problem."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.cli import doctor
from lib.errors import InputError
from lib.files import sha256

ROOT = Path(__file__).parents[2]


def lines(look, root):
    return [(line.text, bool(line.remedy)) for line in look(root)]


def test_a_look_that_fails_is_a_problem_and_the_next_goes_on():
    def broken(root):
        yield doctor.Line("before")
        raise InputError("no library; run this")

    looks = {"A": broken, "B": lambda root: iter([doctor.Line("after")])}
    found = list(doctor.examine(ROOT, looks))
    assert [(section, line.text) for section, line in found] == [
        ("A", "before"),
        ("A", "InputError: no library; run this"),
        ("B", "after"),
    ]
    assert found[1][1].remedy and not found[2][1].remedy


def test_weights_by_their_sum_and_what_is_missing(tmp_path):
    (tmp_path / "model/minivid").mkdir(parents=True)
    path = tmp_path / "model/minivid/rfcn-0000.params"
    path.write_bytes(b"weights")
    found = lines(doctor.weights, tmp_path)
    assert found[0] == (f"model/minivid/rfcn-0000.params: 0.0 MB, sha256 {sha256(path)}", False)
    assert found[1] == ("model/minivid/fgfa-0000.params: missing", True)
    assert len(found) == 6 and not any(problem for _, problem in found[2:])


def test_datasets_and_the_lists_in_them(tmp_path):
    assert "no dataset" in lines(doctor.datasets, tmp_path)[0][0]
    for part in ("Data", "Annotations", "ImageSets"):
        assert tmp_path.joinpath("data/mine", part).mkdir(parents=True) is None
    (tmp_path / "data/half/Data").mkdir(parents=True)
    half, mine = lines(doctor.datasets, tmp_path)
    assert half == ("data/half: no Annotations, ImageSets", True)
    assert mine == ("data/mine: ImageSets holds no list", True)
    (tmp_path / "data/mine/ImageSets/VID_val_videos.txt").write_text("")
    assert "lists VID_val_videos.txt; not gone through" in lines(doctor.datasets, tmp_path)[1][0]


def test_check_goes_through_every_file(tmp_path, minivid):
    (tmp_path / "data").mkdir()
    copy = shutil.copytree(minivid, tmp_path / "data/X")
    looked = [line for line in doctor.checked_datasets(tmp_path) if " faults in " in line.text]
    assert [(line.text.split(" faults")[0], line.remedy) for line in looked] == [("data/X: 0", "")]
    next((copy / "Data").rglob("*.JPEG")).write_bytes(b"no picture")
    looked = [line for line in doctor.checked_datasets(tmp_path) if " faults in " in line.text]
    assert "data/X" in looked[0].text and "names every fault" in looked[0].remedy


def run(*options, **environment):
    command = [sys.executable, *options, "-m", "lib.doctor"]
    merged = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=merged, capture_output=True, text=True, timeout=250, check=False)


def test_the_whole_on_this_installation():
    done = run("-W", "ignore")
    assert done.returncode in (0, 1), done.stderr
    for section in doctor.LOOKS:
        assert f"\n{section}\n" in f"\n{done.stdout}"
    assert "a convolution gives the right figures" in done.stdout
    assert "lib.nms.nms: built" in done.stdout and "built from these sources" in done.stdout
    assert done.stdout.count("PROBLEM") == int(done.stdout.splitlines()[-1].split()[0].replace("no", "0"))


def test_without_any_package_it_still_says_what_to_do():
    done = run("-S", PYTHONPATH="")
    assert done.returncode == 1, done.stderr
    assert "  mxnet: not installed\n    PROBLEM" in done.stdout
    assert "run sh init.sh" in done.stdout and "Datasets\n" in done.stdout


@pytest.mark.parametrize("threads, problem", [("1", True), ("4096", False)])
def test_too_few_threads_are_told(monkeypatch, threads, problem):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(2))
    (found,) = (line for line in doctor.system(ROOT) if "OMP_NUM_THREADS=" in line.text)
    assert bool(found.remedy) is problem


def test_another_python_than_the_one_installed_into(tmp_path):
    (tmp_path / ".python-path").write_text("/elsewhere/bin/python\n")
    assert ("init.sh installed into /elsewhere/bin/python", True) in lines(doctor.system, tmp_path)
