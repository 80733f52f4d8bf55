"""The training loop as scripts run it: continuing exactly, stopping, logs, and errors."""

from __future__ import annotations

import json
import logging
import os
import signal

import numpy as np
import pytest

from lib.backends.base import Sgd
from lib.backends.choice import backend_of
from lib.cli.signals import log_file, stop_requested
from lib.config import make_config
from lib.errors import InputError
from lib.nets.params import load
from lib.training.checkpoints import Checkpoint, Checkpoints
from lib.training.fit import Interrupted, fit
from lib.training.schedules import cosine, one_cycle, step_decay

STEPS, EPOCHS = 7, 3


class Numbers:
    """A loader of random regression problems on two devices; sends this process a signal before a step if asked to."""

    def __init__(self, stop_at=None, signals=(signal.SIGINT,)):
        self.stop_at, self.signals, self.closed = stop_at, signals, 0

    def __len__(self):
        return STEPS

    def epoch(self, epoch, start=0):
        try:
            for number in range(start, STEPS):
                rng = np.random.default_rng((epoch, number))
                if (epoch, number) == self.stop_at:
                    for each in self.signals:
                        os.kill(os.getpid(), each)
                yield [
                    {"data": (x := rng.normal(size=(4, 3))).astype(np.float32), "target": x.sum(1).astype(np.float32)}
                    for _ in range(2)
                ]
        finally:
            self.closed += 1


def make_step(args=None, auxs=None):
    """A linear layer and the squared error, through the real runtime."""

    def loss(F):
        guess = F.FullyConnected(F.Variable("data"), num_hidden=1, name="fc")
        error = F.square(F.reshape(guess, (-1,)) - F.Variable("target"))
        return {"error": F.MakeLoss(error, grad_scale=0.1, name="error")}

    if args is None:
        args = {"fc_weight": np.float32([[1, -2, 3]]), "fc_bias": np.float32([0.5])}
    backend = backend_of(make_config({}))
    return backend.trainer(loss, backend.devices("") * 2, args, auxs or {}, set(args), Sgd(momentum=0.5))


def squared_error(outputs, batch):
    return {"Error": (float(outputs["error"].sum()), float(len(batch["data"])))}


def run(folder, loader=None, resumed=None, step=None, **options):
    options = {"metrics": squared_error, "frequent": 3, "schedule": step_decay(0.1, "1.5", STEPS), **options}
    if step is None:
        step = make_step(resumed.args, resumed.auxs) if resumed else make_step()
    checkpoints = Checkpoints(folder / "net")
    with log_file(folder / "train.log"), stop_requested() as stopped:
        return fit(
            step,
            loader or Numbers(),
            end_epoch=EPOCHS,
            checkpoints=checkpoints,
            resumed=resumed,
            stopped=stopped,
            **options,
        )


def weights(path):
    return load(path)[0]


def lines(folder):
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder) == folder / "net-0003.params"
    return folder


def test_a_pipe_in_place_of_the_log_is_refused(tmp_path):
    """Opening it would wait for a reader."""
    os.mkfifo(tmp_path / "train.log")
    with pytest.raises(InputError, match=r"train\.log: is not a file; remove it"):
        run(tmp_path)


def test_it_learns_and_leaves_its_files(whole):
    names = {each.name for each in whole.iterdir()}
    checkpoints = {f"net-000{epoch}{suffix}" for epoch in (1, 2, 3) for suffix in (".params", ".state.npz")}
    assert names == checkpoints | {"losses.jsonl", "losses.png", "train.log"}
    found = lines(whole)
    assert [(line["epoch"], line["step"]) for line in found] == [(e, s) for e in range(EPOCHS) for s in (3, 6, 7)]
    assert found[-1]["losses"]["Error"] < 0.05 * found[0]["losses"]["Error"]
    assert [round(line["lr"], 6) for line in found[3:6]] == [0.1, 0.01, 0.01]  # from step 10 on
    np.testing.assert_allclose(weights(whole / "net-0003.params")["fc_weight"], [[1, 1, 1]], atol=0.2)
    log = (whole / "train.log").read_text()
    assert "epoch 3 step 7/7" in log and "images/s" in log
    assert (whole / "losses.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("stop_at", [(0, 0), (1, 1), (1, STEPS - 1), (2, 4)])
def test_stopped_and_resumed_equals_uninterrupted(whole, tmp_path, stop_at, capfd):
    loader = Numbers(stop_at)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as stopped:
        run(tmp_path, loader)
    assert stopped.value.code == 130 and loader.closed == stop_at[0] + 1
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert "--resume" in (tmp_path / "train.log").read_text()
    newest = Checkpoints(tmp_path / "net").newest()
    done = stop_at[0] * STEPS + stop_at[1] + 1  # the step at hand is finished
    assert newest.epoch * STEPS + newest.step == done
    final = run(tmp_path, resumed=newest)
    assert lines(tmp_path) == lines(whole)
    for name, value in weights(whole / "net-0003.params").items():
        np.testing.assert_array_equal(weights(final)[name], value)
    assert not (tmp_path / "net-latest.params").exists()


def test_sigterm_saves_too_also_if_it_comes_twice(tmp_path, capfd):
    with pytest.raises(Interrupted):
        run(tmp_path, Numbers((0, 2), (signal.SIGTERM, signal.SIGTERM)))
    assert capfd.readouterr().out.count("stopping after this step") == 1
    assert Checkpoints(tmp_path / "net").newest().step == 3


def test_killed_after_a_timed_save_loses_nothing_but_what_came_after(whole, tmp_path):
    class Dies(Numbers):
        def epoch(self, epoch, start=0):
            for number, batch in enumerate(super().epoch(epoch, start), start):
                if (epoch, number) == (1, 5):
                    raise RuntimeError("the machine is gone")
                yield batch

    with pytest.raises(RuntimeError, match="gone"):
        run(tmp_path, Dies(), save_minutes=0)
    newest = Checkpoints(tmp_path / "net").newest()
    assert (newest.epoch, newest.step) == (1, 5)
    run(tmp_path, resumed=newest)
    assert lines(tmp_path) == lines(whole)


def test_a_finished_training_has_nothing_left_to_do(whole):
    before = lines(whole)
    loader = Numbers()
    assert run(whole, loader, resumed=Checkpoints(whole / "net").newest()) == whole / "net-0003.params"
    assert loader.closed == 0 and lines(whole) == before


def test_a_new_training_does_not_leave_states_of_an_earlier_one(tmp_path):
    old = Checkpoint(9, 0, {"fc_weight": np.float32([[7, 7, 7]])}, {}, {})
    Checkpoints(tmp_path / "net").save(old)
    with pytest.raises(Interrupted):
        run(tmp_path, Numbers((0, 1)))
    assert Checkpoints(tmp_path / "net").newest().epoch == 0


def test_divergence_is_told_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"training diverged: Error is .* in epoch 1, step \d; lower TRAIN\.lr"):
        run(tmp_path, schedule=lambda step: 1e30)
    assert not list(tmp_path.glob("*.params"))


def test_an_error_of_the_loader_closes_it_and_gives_the_signals_back(tmp_path):
    class Broken(Numbers):
        def epoch(self, epoch, start=0):
            yield next(super().epoch(epoch, start))
            raise InputError("a.JPEG: broken")

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(InputError, match="broken"):
        run(tmp_path, Broken())
    assert signal.getsignal(signal.SIGINT) is handler


def test_logging_is_as_before(tmp_path):
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    run(tmp_path)
    assert (root.level, list(root.handlers)) == before


def test_step_decay_by_hand():
    rate = step_decay(0.1, "1.333, 2", 300, warmup=True, warmup_lr=0.01, warmup_step=5)
    assert [rate(step) for step in (0, 4, 5, 398)] == [0.01, 0.01, 0.1, 0.1]
    assert rate(399) == pytest.approx(0.01) and rate(600) == pytest.approx(0.001)
    assert step_decay(0.1, "", 300)(10**6) == 0.1
    with pytest.raises(InputError, match=r"TRAIN\.lr_step: 'one'"):
        step_decay(0.1, "one", 300)


def test_smooth_schedules():
    rate = cosine(2.0, 100)
    assert rate(0) == 2 and rate(50) == pytest.approx(1) and rate(100) == pytest.approx(0) == rate(200)
    rate = one_cycle(2.0, 100, rise=0.3, start=0.1)
    assert rate(0) == pytest.approx(0.2) and rate(30) == pytest.approx(2) and rate(100) == pytest.approx(0)
    assert max(map(rate, range(101))) == pytest.approx(2)
