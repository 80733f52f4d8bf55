"""What training in several processes costs.

    python -m bench.scaling paper --step 0.15                 # expected: bytes, all-reduce time and efficiency
    python -m bench.scaling paper                             # the same for a step of the published FGFA measured here
    python -m bench.scaling loopback --backend mxnet          # measured: 1, 2 and 4 processes on this machine
    python -m bench.scaling loopback --backend torch

`paper` assumes that gradients are summed after the backward pass, without overlap, in a ring over machines. Each has a
link of 10 or 100 Gbit/s in each direction; latency and the links within a machine are neglected. A machine sends
2 (N - 1) / N times the gradients to the ring of N. With MXNet's parameter server, each worker sends and receives them
once, which takes about as long with a server on each machine.

`loopback` takes steps of FGFA on MiniVID in N processes with one thread each, in turns with and without the sum over
processes, while the other processes do the same. More processes than cores slow down both.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import socket
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from bench import training_step
from bench.turns import head, row, say, seconds
from lib.backends.base import Backend, Trainer
from lib.backends.choice import make_backend
from lib.config import load_config
from lib.errors import command
from lib.files import write_json
from lib.inference.detector import parameter_shapes
from lib.methods import METHODS
from lib.training.train import trainable

METHOD = METHODS["fgfa_rfcn"]
LINKS = (10, 100)  # Gbit/s
GPUS = (1, 2, 4, 8, 16, 32, 64)


def gradient_bytes(backend: Backend) -> int:
    """Bytes of the float32 gradients of a training step of the published network."""
    cfg = load_config(METHOD.published.cfg, [], METHOD.schema)
    shapes = parameter_shapes(METHOD.parts(cfg), backend)[0]
    return 4 * sum(math.prod(shapes[name]) for name in trainable(shapes, cfg.network.FIXED_PARAMS))


def all_reduce(size: int, machines: int, gigabits: float) -> float:
    """Seconds in which a ring of machines adds up `size` bytes."""
    return 2 * (machines - 1) / machines * size * 8 / (gigabits * 1e9)


def paper(step: float, size: int) -> list[dict[str, float]]:
    """Prints and returns the expected efficiency for a step of so many seconds."""
    say(f"gradients: {size / 1e6:.0f} MB a step; a step without a sum: {1e3 * step:.0f} ms")
    columns = [(gigabits, per) for per in (1, 8) for gigabits in LINKS]
    head("GPUs", *(f"{gigabits} Gbit/s, {per} GPU{'s' if per > 1 else ''} per machine" for gigabits, per in columns))
    rows = []
    for gpus in GPUS:
        found: dict[str, float] = {"gpus": gpus}
        for gigabits, per in columns:
            taken = all_reduce(size, -(-gpus // per), gigabits)
            found[f"{gigabits}/{per}"] = step / (step + taken)
        rows.append(found)
        times = (all_reduce(size, -(-gpus // per), gigabits) for gigabits, per in columns)
        cells = (f"{1e3 * taken:.0f} ms, {step / (step + taken):.0%}" for taken in times)
        row(str(gpus), *cells)
    return rows


def loopback(name: str, counts: list[int], runs: int) -> list[dict[str, float]]:
    """Prints and returns the overhead of each number of processes."""
    head("processes", "step alone", "step together", "overhead")
    rows = []
    for count in counts:
        found = json.loads(_torchrun(count, runs) if name == "torch" else _parameter_server(count, runs))
        row(
            str(count),
            *(f"{1e3 * found[kind]:.0f} ms" for kind in ("alone", "together")),
            f"{1e3 * found['overhead']:.0f} ms ({found['overhead'] / found['alone']:.0%})",
        )
        rows.append({"processes": count, **found})
    return rows


def _torchrun(count: int, runs: int) -> str:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return _started([*launcher, "-m", "bench.scaling", "--process", "torch", "--runs", str(runs)], {})[1]


def _parameter_server(count: int, runs: int) -> str:
    job = {
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": str(_free_port()),
        "DMLC_NUM_SERVER": "1",
        "DMLC_NUM_WORKER": str(count),
        "DMLC_INTERFACE": "lo",
    }
    argv = ["-m", "bench.scaling", "--process", "mxnet", "--runs", str(runs)]
    roles = [{"DMLC_ROLE": "scheduler"}, {"DMLC_ROLE": "server"}]
    roles += [{"DMLC_ROLE": "worker", "DMLC_WORKER_ID": str(rank)} for rank in range(1, count)]
    others = [_start(argv, {**job, **role}) for role in roles]
    try:
        _, line = _started(argv, {**job, "DMLC_ROLE": "worker", "DMLC_WORKER_ID": "0"})
        for other in others:
            other.wait(timeout=60)
        return line
    finally:
        for other in others:
            other.kill()
            other.wait()


def _start(argv: list[str], variables: dict[str, str]) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen([sys.executable, *argv], env=environment, stdout=subprocess.PIPE, text=True)


def _started(argv: list[str], variables: dict[str, str]) -> tuple[int, str]:
    """(status, last line of its output) of a process that has ended well."""
    process = _start(argv, variables)
    output = process.communicate()[0]
    if process.returncode or not output.strip():
        raise RuntimeError(f"{' '.join(argv)} ended with status {process.returncode}")
    return process.returncode, output.strip().splitlines()[-1]


def _free_port() -> int:
    """A port that is free, like most after it."""
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def one_process(name: str, runs: int) -> None:
    """A process of `loopback`. The first prints the medians of its steps, seconds."""
    settings = ["default.kvstore=dist_sync"] if name == "mxnet" else []
    cfg = load_config(METHOD.bundled.cfg, settings, METHOD.schema)
    backend, inputs = make_backend(name, cfg), training_step.batch(cfg)
    with backend.processes("") as processes:
        learners = {
            "alone": training_step.trainer(cfg, backend),
            "together": training_step.trainer(cfg, backend, processes=processes),
        }
        taken: dict[str, list[float]] = {kind: [] for kind in learners}
        for _ in range(runs + 2):
            for kind, learner in learners.items():
                processes.total(np.zeros(1))
                taken[kind].append(seconds(lambda learner=learner: _whole_step(learner, inputs)))
        medians = {kind: statistics.median(times[2:]) for kind, times in taken.items()}
        pairs = zip(taken["alone"][2:], taken["together"][2:])
        medians["overhead"] = statistics.median(together - alone for alone, together in pairs)
        if processes.rank == 0:
            say(json.dumps(medians))


def _whole_step(learner: Trainer, inputs: dict) -> None:
    learner.step([inputs], 1e-6)
    learner.params()  # MXNet's step returns before the weights are updated


@command
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["paper", "loopback"])
    parser.add_argument("--backend", default="torch", choices=["mxnet", "torch"])
    parser.add_argument("--step", type=float, metavar="SECONDS", help="paper: of a step (default: measured on the CPU)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4], help="loopback: default 1 2 4")
    parser.add_argument("--runs", type=int, default=20, help="steps timed (default: %(default)s)")
    parser.add_argument("--process", choices=["mxnet", "torch"], help="one of the processes of loopback")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args(argv)
    if args.process:
        one_process(args.process, args.runs)
        return
    if args.what is None:
        parser.error("say what: paper or loopback")
    if args.what == "paper":
        step = args.step or training_step.on_device("cpu", (600, 1000), args.runs)["step"]
        backend = make_backend(args.backend, load_config(METHOD.published.cfg, [], METHOD.schema))
        figures = paper(step, gradient_bytes(backend))
    else:
        figures = loopback(args.backend, args.processes, args.runs)
    if args.json:
        write_json(args.json, figures)


if __name__ == "__main__":
    main()
