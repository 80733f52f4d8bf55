"""Training in two processes that torchrun starts: equal to one process with two devices, also stopped and resumed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from lib.backends.base import Alone
from lib.backends.choice import make_backend
from lib.config import load_config, make_config
from lib.errors import InputError
from lib.methods import METHODS
from lib.training.checkpoints import Checkpoints
from lib.training.train import train
from tests import tiny
from tests.conftest import needs
from tests.jobs import CHANGES, EPOCH, PROGRAM, STEPS, TRAINERS, lines, training, weights
from tests.tiny import ROOT

METHOD = METHODS["fgfa_rfcn"]
SET = ["backend=torch", "default.frequent=1"]


def torchrun(*argv: object, **variables: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, argv)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "TRAINER": TRAINERS["torch"],
        **variables,
    }
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def whole(minivid, tmp_path_factory):
    """(folder, finished process) of the script under torchrun."""
    needs("torch")
    folder = tmp_path_factory.mktemp("whole")
    cfg = tiny.write_experiment(folder, minivid, "fgfa_rfcn", **CHANGES)
    run = torchrun("experiments/fgfa_rfcn/fgfa_rfcn_end2end_train_test.py", "--cfg", cfg, "--set", *SET)
    assert run.returncode == 0, run.stderr
    return folder, run


def test_two_processes_equal_one_with_two_devices(whole, tmp_path):
    folder, _ = whole
    cfg = load_config(folder / "fgfa_rfcn.yaml", SET, METHOD.schema)
    backend = make_backend("torch", cfg)
    backend.processes = lambda gpus: Alone(backend.devices(gpus) * 2)
    train(cfg, METHOD, tmp_path, backend=backend)
    found, expected = lines(training(folder)), lines(tmp_path)
    assert len(found) == len(expected) == STEPS
    for a, b in zip(found, expected):
        assert (a["epoch"], a["step"], a["lr"]) == (b["epoch"], b["step"], b["lr"])
        assert a["losses"] == pytest.approx(b["losses"], rel=1e-5, abs=1e-7)
    for name, value in weights(tmp_path).items():
        np.testing.assert_allclose(weights(training(folder))[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_one_process_writes_and_tests(whole):
    folder, run = whole
    log = (training(folder) / "train.log").read_text()
    assert log.count("saved ") == 3 and log.count(f"epoch 3 step {EPOCH}/{EPOCH}") == 1
    assert run.stderr.count("new layers:") == run.stderr.count("written to") == 1
    assert (training(folder).parent / "VID_val_videos" / "results.json").is_file()


def test_killed_then_terminated_then_resumed_equals_uninterrupted(whole, tmp_path, minivid, caplog):
    cfg = tiny.write_experiment(tmp_path, minivid, "fgfa_rfcn", **CHANGES)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    argv = (program, "--cfg", cfg, "--set", *SET)
    checkpoints = Checkpoints(training(tmp_path) / "tiny")

    begun = time.monotonic()
    run = torchrun(*argv, EVENT="killed", STEP=str(EPOCH + 4))
    assert time.monotonic() - begun < 60 and run.returncode == 1
    (line,) = (each for each in run.stderr.splitlines() if each.startswith("error: "))
    assert "process 1 on 127.0.0.1 has ended" in line and line.endswith("same command with --resume")
    assert checkpoints.newest().epoch == 1

    run = torchrun(*argv, "--resume", EVENT="terminated", STEP="5")
    assert run.returncode != 0 and run.stderr.count("state saved; run the same command with --resume") == 1
    newest = checkpoints.newest()
    assert (newest.epoch, newest.step) == (1, 5)

    run = torchrun(*argv, "--resume", EVENT="none", STEP="0")
    assert run.returncode == 0, run.stderr
    with caplog.at_level(logging.WARNING):
        assert checkpoints.newest().epoch == 3
    assert lines(training(tmp_path)) == lines(training(whole[0]))
    for name, value in weights(training(whole[0])).items():
        np.testing.assert_array_equal(weights(training(tmp_path))[name], value, err_msg=name)


# Messages


@pytest.fixture
def started(monkeypatch):
    """started(count, **variables): the environment of process 0 of torchrun's `count`."""

    def set_variables(count, **variables):
        values = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
        for name, value in {**values, **variables}.items():
            monkeypatch.setenv(name, value)

    return set_variables


def refusal(gpus: int) -> str:
    """What the backend says to so many GPUs."""
    backend = make_backend("torch", make_config({}))
    torch = pytest.importorskip("torch")
    backend.devices = lambda text: [torch.device("cuda", number) for number in range(gpus)]
    with pytest.raises(InputError) as error:
        backend.processes("")
    return str(error.value)


def test_gpus_and_processes_must_match(started):
    needs("torch")
    assert refusal(2) == (
        "gpus: the PyTorch backend trains on 2 GPUs with a process for each; run torchrun --nproc-per-node 2 SCRIPT "
        "--cfg YAML instead of python, or name one GPU, such as --set gpus=0"
    )
    started(4)
    assert refusal(2) == (
        "torchrun started 4 processes on this machine, but gpus: '0,1' names 2 GPUs; use "
        "--nproc-per-node 2 or name 4 GPUs"
    )
    started(4, LOCAL_WORLD_SIZE="2")
    assert "torchrun started 2 processes on this machine, but gpus: '0,1,2,3' names 4 GPUs" in refusal(4)


def test_mxnet_needs_no_torchrun(started):
    needs("mxnet")
    started(2)
    with pytest.raises(InputError, match=r"torchrun needs backend: torch \(--set backend=torch\); MXNet trains on all"):
        make_backend("mxnet", make_config({})).processes("")


def test_other_scripts_run_in_one_process(started, capsys):
    started(2)
    line = tiny.refused(capsys, "experiments/minivid/pretrain.py", "flow", "--cfg", ROOT / METHODS["rfcn"].bundled.cfg)
    assert line == "error: torchrun is for the *_end2end_train_test.py scripts only; start this one with python"
