"""The doctor runs all of its checks whatever is broken, and names one remedy for each cause."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib import cuda
from lib.backends import choice
from lib.cli import checks, doctor, engine_checks
from lib.errors import InputError
from lib.files import sha256
from tests.conftest import needs

ROOT = Path(__file__).parents[2]


def lines(check, root):
    return [(line.text, bool(line.remedy)) for line in check(root)]


def test_a_check_that_fails_is_one_problem_and_the_next_runs():
    def broken(root):
        yield checks.Line("before")
        raise InputError("no library; run this")

    todo = {"A": broken, "B": broken, "C": lambda root: iter([checks.Line("after")])}
    found = [(section, line.text, bool(line.remedy)) for section, line in doctor.examine(ROOT, todo)]
    assert found == [
        ("A", "before", False),
        ("A", "InputError: no library; run this", True),
        ("B", "before", False),
        ("B", "not checked: the error is the one under A", False),
        ("C", "after", False),
    ]


@pytest.fixture
def cuda_build(monkeypatch):
    """MXNet's CUDA build in the place of the installed one, on a machine without a driver."""
    monkeypatch.setattr(cuda, "is_cuda_build", lambda package: True)
    monkeypatch.setattr(cuda, "has_driver", lambda: False)
    monkeypatch.setattr(cuda, "cards", list)
    monkeypatch.setattr(cuda, "unresolved", lambda package: [cuda.DRIVER])


def problems():
    todo = {name: doctor.CHECKS[name] for name in ("Packages", "Backend", "GPU", "MXNet", "PyTorch", "Built here")}
    return [(section, line.text) for section, line in doctor.examine(ROOT, todo) if line.remedy]


def backends(monkeypatch, *names: str) -> None:
    """Only these count as installed, and those that are, in their tested version."""
    version = checks.version_of
    monkeypatch.setattr(
        checks, "version_of", lambda name: None if name in {"mxnet", "torch"} - {*names} else version(name)
    )
    real = choice._installed
    monkeypatch.setattr(choice, "_installed", lambda name: name in names and real(name))


def test_any_compiler_that_builds_the_operators_will_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert ("C++ compiler: not found", True) in lines(checks.system, ROOT)
    (tmp_path / "c++").touch(0o755)
    assert (f"C++ compiler: {tmp_path}/c++", False) in lines(checks.system, ROOT)


def test_what_auto_takes(monkeypatch):
    monkeypatch.setattr(choice, "_installed", {"mxnet", "torch"}.__contains__)
    assert lines(engine_checks.backend, ROOT) == [("backend: auto takes MXNet", False)]
    monkeypatch.setattr(choice, "_installed", {"torch"}.__contains__)
    assert lines(engine_checks.backend, ROOT) == [("backend: auto takes PyTorch, as MXNet is not installed", False)]
    monkeypatch.setattr(choice, "_installed", set().__contains__)
    assert lines(engine_checks.backend, ROOT) == [("not checked: mxnet or torch is not installed", False)]


def test_no_backend_is_one_problem(monkeypatch):
    backends(monkeypatch)
    assert problems() == [("Packages", "not installed: mxnet or torch")]
    assert lines(engine_checks.mxnet, ROOT) == [("not installed", False)]
    ((text, problem),) = lines(engine_checks.torch, ROOT)
    assert text.startswith("not installed; sh init.sh --backend torch installs it") and not problem


def test_what_pytorch_can_use():
    needs("torch")
    about, processor, convolution, gpus, *_ = lines(engine_checks.torch, ROOT)
    assert about[0].startswith("PyTorch 2.") and "TEST.PRECISION: bfloat16: " in processor[0]
    assert convolution == ("a small convolution gives the right result", False)
    assert gpus[0].startswith("GPUs that PyTorch sees: ")


def test_a_missing_driver_is_one_problem(cuda_build):
    needs("mxnet")
    ((section, text),) = problems()
    assert section == "GPU" and "no NVIDIA driver" in text
    assert lines(engine_checks.mxnet, ROOT) == [("not checked: the CUDA build of MXNet needs the NVIDIA driver", False)]


def test_a_missing_library_of_the_cuda_build_is_one_problem(cuda_build, monkeypatch):
    needs("mxnet")
    monkeypatch.setattr(cuda, "has_driver", lambda: True)
    monkeypatch.setattr(cuda, "cards", lambda: [cuda.Card("X", (8, 6))])
    monkeypatch.setattr(cuda, "unresolved", lambda package: ["libcudnn.so.8"])
    assert problems() == [("GPU", "libraries of libmxnet.so: cannot load libcudnn.so.8")]


def test_a_package_that_is_not_installed_is_one_problem(monkeypatch):
    version = checks.version_of
    monkeypatch.setattr(checks, "version_of", lambda name: None if name in ("tqdm", "av") else version(name))
    assert problems() == [("Packages", "not installed: av, tqdm")]


def test_weights_with_their_sums_and_what_is_missing(tmp_path):
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    (tmp_path / "model/minivid").mkdir(parents=True)
    path = tmp_path / "model/minivid/rfcn-0000.params"
    path.write_bytes(b"weights")
    found = lines(checks.weights, tmp_path)
    assert found[0] == (f"model/minivid/rfcn-0000.params: 0.0 MB, sha256 {sha256(path)}", False)
    assert found[1:3] == [(f"model/minivid/{name}-0000.params: missing", True) for name in ("fgfa", "dff")]
    assert len(found) == 8 and not any(problem for _, problem in found[3:])


def test_datasets_and_the_lists_in_them(tmp_path):
    assert "no dataset" in lines(checks.datasets, tmp_path)[0][0]
    for part in ("Data", "Annotations", "ImageSets"):
        assert tmp_path.joinpath("data/mine", part).mkdir(parents=True) is None
    (tmp_path / "data/half/Data").mkdir(parents=True)
    half, mine = lines(checks.datasets, tmp_path)
    assert half == ("data/half: no Annotations, ImageSets", True)
    assert mine == ("data/mine: no lists in ImageSets", True)
    (tmp_path / "data/mine/ImageSets/VID_val_videos.txt").write_text("")
    assert lines(checks.datasets, tmp_path)[1] == ("data/mine: lists VID_val_videos.txt", False)


def test_a_folder_of_clips_is_no_broken_dataset(tmp_path):
    (tmp_path / "data/demo/clip").mkdir(parents=True)
    assert lines(checks.datasets, tmp_path) == [("data/demo: not a dataset (no Data, Annotations, ImageSets)", False)]


def test_the_bundled_data_has_no_problem():
    for folder in ("data/demo", "data/minivid_val"):
        found = [line for line in checks.datasets(ROOT) if line.text.startswith(f"{folder}:")]
        assert len(found) == 1 and not found[0].remedy


def test_check_goes_through_every_file(tmp_path, minivid):
    (tmp_path / "data").mkdir()
    copy = shutil.copytree(minivid, tmp_path / "data/X")
    looked = [line for line in checks.checked_datasets(tmp_path) if " faults in " in line.text]
    assert [(line.text.split(" faults")[0], line.remedy) for line in looked] == [("data/X: 0", "")]
    next((copy / "Data").rglob("*.JPEG")).write_bytes(b"no picture")
    looked = [line for line in checks.checked_datasets(tmp_path) if " fault in " in line.text]
    assert "data/X: 1 fault" in looked[0].text and "lists every fault" in looked[0].remedy


def run(*options, **environment):
    command = [sys.executable, *options, "-m", "lib.doctor"]
    merged = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=merged, capture_output=True, text=True, timeout=250, check=False)


def test_the_whole_on_this_installation():
    done = run("-W", "ignore")
    assert done.returncode in (0, 1), done.stderr
    for section in doctor.CHECKS:
        assert f"\n{section}\n" in f"\n{done.stdout}"
    assert "a small convolution gives the right result" in done.stdout
    assert "lib.nms.nms: built" in done.stdout and "matches its sources" in done.stdout
    assert done.stdout.count("PROBLEM") == int(done.stdout.splitlines()[-1].split()[0].replace("no", "0"))


def test_without_any_package_it_still_says_what_to_do():
    done = run("-S", PYTHONPATH="", OMP_NUM_THREADS="")
    assert done.returncode == 1, done.stderr
    assert "  not installed: numpy, " in done.stdout and "mxnet or torch\n    PROBLEM 1: run sh init.sh" in done.stdout
    assert "MXNet\n  not installed\n" in done.stdout and "Datasets\n" in done.stdout
    assert done.stdout.endswith("\n1 problem\n")


@pytest.mark.parametrize("threads, problem", [("1", True), ("4096", False)])
def test_too_few_threads_are_a_problem(monkeypatch, threads, problem):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(2))
    (found,) = (line for line in checks.system(ROOT) if "OMP_NUM_THREADS=" in line.text)
    assert bool(found.remedy) is problem


def test_another_python_than_the_one_installed_into(tmp_path):
    (tmp_path / ".python-path").write_text("/elsewhere/bin/python\n")
    assert ("init.sh installed into /elsewhere/bin/python", True) in lines(checks.system, tmp_path)
