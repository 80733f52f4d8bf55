"""Trainings of several processes on this machine, by the script or by a program that does something before a step."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.nets.params import load
from tests.tiny import ROOT

SCRIPT = "experiments/fgfa_rfcn/fgfa_rfcn_end2end_train_test.py"
CHANGES = {"TRAIN": {"MIN_OFFSET": -1, "MAX_OFFSET": 1, "end_epoch": 3, "CLIP_GRADIENT": 1.0, "EMA": 0.9}}
EPOCH, STEPS = 9, 27  # 18 images on two devices

# The script, in which process 1 does something before a step.
PROGRAM = """
import importlib, os, pathlib, signal, sys, time
from lib.cli.experiment import train_and_test
from lib.errors import InputError
from lib.methods import METHODS

event, rank, chosen = os.environ["EVENT"], os.environ.get("DMLC_WORKER_ID", os.environ.get("RANK")), None
TrainStep = importlib.import_module(os.environ["TRAINER"]).TrainStep
whole_step, number = TrainStep.step, 0


def step(self, batches, lr):
    global number
    number += 1
    if rank == "1" and number == int(os.environ["STEP"]):
        if event == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if event == "wrong":
            raise InputError("a.JPEG: broken")
        if event == "terminated":  # torchrun, which passes it to its processes, or this process
            os.kill(os.getppid() if os.environ.get("LOCAL_RANK") else os.getpid(), signal.SIGTERM)
            time.sleep(3)
    return whole_step(self, batches, lr)


TrainStep.step = step
train_and_test(sys.argv[1:], METHODS["fgfa_rfcn"])
names = [path.read_text() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
assert not any("gloo" in name for name in names), names  # they could abort the process when Python ends
"""
TRAINERS = {"mxnet": "lib.backends.mxnet.runtime", "torch": "lib.backends.torch.trainer"}


class Ended:
    """A process that has ended: its status, what it wrote to stderr, and when."""

    def __init__(self, process: subprocess.Popen, deadline: float):
        try:
            _, self.stderr = process.communicate(timeout=deadline - time.monotonic())
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"still running: {process.args}\n{process.communicate()[1]}")
        self.returncode = process.returncode

    @property
    def errors(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


def together(*commands: tuple[list, dict], seconds: float = 200) -> list[Ended]:
    """Runs commands, with their environments, at the same time."""
    started = [
        subprocess.Popen(
            [sys.executable, *map(str, argv)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for argv, variables in commands
    ]
    deadline = time.monotonic() + seconds
    try:
        return [Ended(process, deadline) for process in started]
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def free_port() -> int:
    """A port that is free, like the one after it."""
    while True:
        with socket.create_server(("", 0)) as first:
            port = first.getsockname()[1]
            try:
                with socket.create_server(("", port + 1)):
                    return port
            except OSError:
                continue


def agents(*argvs: list, **variables: str) -> list[Ended]:
    """One torchrun of one process for each list of arguments, as if on machines of their own."""
    port = free_port()
    launcher = ["-m", "torch.distributed.run", "--nnodes", len(argvs), "--nproc-per-node", "1"]
    launcher += ["--master-addr", "127.0.0.1", "--master-port", port]
    return together(*(([*launcher, "--node-rank", rank, *argv], variables) for rank, argv in enumerate(argvs)))


def parameter_server(*argvs: list, kvstore: str = "dist_sync", **variables: str) -> list[Ended]:
    """Workers with these arguments, then the scheduler and a server."""
    lists = [*argvs, argvs[0], argvs[0]]
    started = zip(lists, roles(len(argvs)))
    return together(*(([*argv, f"default.kvstore={kvstore}"], {**role, **variables}) for argv, role in started))


def roles(workers: int) -> list[dict[str, str]]:
    """The variables of MXNet's workers, then of the scheduler and a server, on this machine."""
    job = {
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": str(free_port()),
        "DMLC_NUM_SERVER": "1",
        "DMLC_NUM_WORKER": str(workers),
        "DMLC_INTERFACE": "lo",
    }
    each = [{"DMLC_ROLE": "worker", "DMLC_WORKER_ID": str(rank)} for rank in range(workers)]
    return [{**job, **role} for role in (*each, {"DMLC_ROLE": "scheduler"}, {"DMLC_ROLE": "server"})]


def ranks(count: int) -> list[dict[str, str]]:
    """The variables that torchrun gives to its processes on this machine."""
    job = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    job["MASTER_PORT"] = str(free_port())
    return [{**job, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def training(folder: Path) -> Path:
    return folder / "output" / "fgfa_rfcn" / "Tiny" / "fgfa_rfcn" / "VID_train_15frames"


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict:
    """The final weights, and the averaged ones under `ema/`."""
    args, auxs = load(folder / "tiny-0003.params")
    averages, _ = load(folder / "tiny_ema-0003.params")
    return {**args, **auxs, **{f"ema/{name}": value for name, value in averages.items()}}
