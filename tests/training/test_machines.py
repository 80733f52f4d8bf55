"""Training in two processes as on two machines with disks of their own: torchrun's agents, MXNet's parameter server."""

from __future__ import annotations

import logging
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
from tests.jobs import (
    CHANGES,
    EPOCH,
    PROGRAM,
    SCRIPT,
    STEPS,
    TRAINERS,
    agents,
    lines,
    parameter_server,
    training,
    weights,
)

METHOD = METHODS["fgfa_rfcn"]
ROOT_CFG = tiny.ROOT / METHOD.bundled.cfg
JOBS = {"mxnet": parameter_server, "torch": agents}


class Job:
    """A training on two machines, each with its own YAML file, dataset and output."""

    def __init__(self, name, folder, minivid):
        self.name, self.folders = name, [folder / "first", folder / "second"]
        for each in self.folders:
            each.mkdir()
        self.cfgs = [tiny.write_experiment(folder, minivid, "fgfa_rfcn", **CHANGES) for folder in self.folders]
        self.program = folder / "program.py"
        self.program.write_text(PROGRAM)

    def arguments(self, first, *options, machine=0):
        sets = (f"backend={self.name}", "default.frequent=1")
        return [first, "--cfg", self.cfgs[machine], *options, "--set", *sets]

    def run(self, *options, event=None, step=0, **more):
        """The two processes that train, and those that serve them."""
        first = SCRIPT if event is None else self.program
        variables = {"EVENT": event or "", "STEP": str(step), "TRAINER": TRAINERS[self.name]}
        return JOBS[self.name](*(self.arguments(first, *options, machine=n) for n in range(2)), **variables, **more)


@pytest.fixture(scope="module", params=JOBS)
def whole(request, minivid, tmp_path_factory):
    """A job that has run to its end."""
    needs(request.param)
    job = Job(request.param, tmp_path_factory.mktemp(request.param), minivid)
    ended = job.run()
    assert [process.returncode for process in ended] == [0] * len(ended), [process.stderr for process in ended]
    return job


def test_two_machines_equal_one_process_with_two_devices(whole, tmp_path):
    cfg = load_config(whole.cfgs[0], [f"backend={whole.name}", "default.frequent=1"], METHOD.schema)
    backend = make_backend(whole.name, cfg)
    backend.processes = lambda gpus: Alone(backend.devices(gpus) * 2)
    train(cfg, METHOD, tmp_path, backend=backend)
    found, expected = training(whole.folders[0]), tmp_path
    assert len(lines(found)) == STEPS
    # MXNet's are equal to the bit where this process has as many threads as each of the two.
    tolerance = {"rtol": 1e-5, "atol": 1e-8 if whole.name == "mxnet" else 1e-6}
    for a, b in zip(lines(found), lines(expected)):
        assert (a["epoch"], a["step"], a["lr"]) == (b["epoch"], b["step"], b["lr"])
        assert a["losses"] == pytest.approx(b["losses"], rel=tolerance["rtol"], abs=tolerance["atol"])
    for name, value in weights(expected).items():
        np.testing.assert_allclose(weights(found)[name], value, err_msg=name, **tolerance)


def test_only_the_first_machine_writes(whole):
    assert (training(whole.folders[0]).parent / "VID_val_videos" / "results.json").is_file()
    written = [path for path in (whole.folders[1] / "output").rglob("*") if path.is_file()]
    assert {path.parent.name for path in written} == {"cache"}


def test_the_other_kvstore_gives_the_same(whole, tmp_path, minivid):
    if whole.name == "torch":
        pytest.skip("MXNet's")
    job = Job("mxnet", tmp_path, minivid)
    assert not any(process.returncode for process in job.run(kvstore="dist_device_sync"))
    assert lines(training(job.folders[0])) == lines(training(whole.folders[0]))


def test_killed_then_terminated_then_resumed_equals_uninterrupted(whole, tmp_path, minivid, caplog, capsys):
    job = Job(whole.name, tmp_path, minivid)
    checkpoints = Checkpoints(training(job.folders[0]) / "tiny")

    begun = time.monotonic()
    ended = job.run(event="killed", step=EPOCH + 4)
    assert time.monotonic() - begun < 60 and all(process.returncode for process in ended)
    for process in (ended[0], *ended[2:]):
        assert process.errors == [
            "error: training stopped: process 1 on 127.0.0.1 has ended; look for its error, then run the same command "
            "with --resume"
        ]
    assert checkpoints.newest().epoch == 1

    ended = job.run("--resume", event="terminated", step=5)
    assert [process.stderr.count("state saved; run the same command with --resume") for process in ended[:2]] == [1, 0]
    newest = checkpoints.newest()
    assert (newest.epoch, newest.step, newest.devices) == (1, 5, 2)

    script, *options = job.arguments(SCRIPT, "--resume")
    line = tiny.refused(capsys, script, *options)
    assert line == (
        f"error: {training(job.folders[0]) / 'tiny'}-latest is from the middle of epoch 2 of a training on 2 devices, "
        "but there are 1 in all processes now; use 2, or delete it to continue from the end of the last epoch"
    )

    ended = job.run("--resume")
    assert not any(process.returncode for process in ended), [process.stderr for process in ended]
    with caplog.at_level(logging.WARNING):
        assert checkpoints.newest().epoch == 3
    assert lines(training(job.folders[0])) == lines(training(whole.folders[0]))
    for name, value in weights(training(whole.folders[0])).items():
        np.testing.assert_array_equal(weights(training(job.folders[0]))[name], value, err_msg=name)


def test_an_error_of_one_process_ends_all(whole, tmp_path, minivid):
    ended = Job(whole.name, tmp_path, minivid).run(event="wrong", step=3)
    assert ended[1].errors == ["error: a.JPEG: broken"]
    assert ended[0].errors[0].startswith("error: training stopped: process 1 on 127.0.0.1 has ")
    assert all(process.returncode for process in ended)


def test_other_settings_on_one_machine_are_refused(whole, tmp_path, minivid):
    job = Job(whole.name, tmp_path, minivid)
    job.cfgs[1].write_text(job.cfgs[1].read_text().replace("lr: 0.001", "lr: 0.002"))
    for process in job.run()[:2]:
        assert process.errors == [
            "error: process 1 has other settings than process 0; start all of them with the same settings, on copies "
            "of the same files"
        ]


# Messages of MXNet's roles


@pytest.fixture
def role(monkeypatch):
    """role(DMLC_ROLE=..., ...): sets the environment."""
    for name, value in {
        "DMLC_ROLE": "worker",
        "DMLC_WORKER_ID": "0",
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": "9000",
        "DMLC_NUM_SERVER": "1",
        "DMLC_NUM_WORKER": "2",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


ADDRESS = "set it to the IPv4 address of the scheduler's machine, since MXNet looks up no names"


@pytest.mark.parametrize(
    "variable, value, message",
    [
        ("DMLC_ROLE", "boss", "DMLC_ROLE: 'boss' is not one of scheduler, server and worker"),
        ("DMLC_WORKER_ID", "2", "DMLC_WORKER_ID: '2'; set it to the number of this worker, from 0 to 1"),
        ("DMLC_WORKER_ID", None, "DMLC_WORKER_ID: ''; set it to the number of this worker, from 0 to 1"),
        ("DMLC_NUM_WORKER", "two", "DMLC_NUM_WORKER: 'two'; set it to the number of worker processes"),
        ("DMLC_PS_ROOT_URI", None, f"DMLC_PS_ROOT_URI: ''; {ADDRESS}"),
        ("DMLC_PS_ROOT_URI", "node1", f"DMLC_PS_ROOT_URI: 'node1'; {ADDRESS}"),
    ],
)
def test_wrong_variables(role, capsys, variable, value, message):
    role.delenv(variable) if value is None else role.setenv(variable, value)
    line = tiny.refused(capsys, SCRIPT, "--cfg", ROOT_CFG, "--set", "default.kvstore=dist_sync")
    assert line == f"error: {message}"


def test_the_setting_and_the_variables_must_agree(role):
    needs("mxnet")
    with pytest.raises(InputError, match=r"default\.kvstore: device is for one process, but DMLC_ROLE is set"):
        make_backend("mxnet", make_config({})).processes("")
    role.delenv("DMLC_ROLE")
    with pytest.raises(InputError, match=r"default\.kvstore: dist_sync needs DMLC_ROLE and its companions"):
        make_backend("mxnet", make_config({"default": {"kvstore": "dist_sync"}})).processes("")


def test_pytorch_has_no_roles(role):
    needs("torch")
    with pytest.raises(InputError, match="DMLC_ROLE is for backend: mxnet; unset it"):
        make_backend("torch", make_config({})).processes("")


def test_other_scripts_have_no_roles(role, capsys):
    line = tiny.refused(capsys, "experiments/rfcn/rfcn_test.py", "--cfg", ROOT_CFG)
    assert line == "error: DMLC_ROLE is for the *_end2end_train_test.py scripts only; start this one with python"
