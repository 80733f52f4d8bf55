"""The training loop, for any network and any losses."""

from __future__ import annotations

import contextlib
import datetime
import logging
import math
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from lib.backends.base import ALONE, Arrays, Processes, Trainer
from lib.errors import InputError
from lib.reading import join, split
from lib.training.checkpoints import Checkpoint, Checkpoints
from lib.training.curves import Curves
from lib.training.metrics import Metrics, detection_metrics
from lib.training.schedules import Schedule, average_decay
from lib.training.watch import Watch

log = logging.getLogger(__name__)

_DRAW_SECONDS = 60.0


class Loader(Protocol):
    """Supplies the batches of an epoch; implemented by `lib.dataset.loader.TrainLoader`."""

    def __len__(self) -> int: ...
    def epoch(self, epoch: int, start: int = 0) -> Generator[Sequence[Arrays], None, None]: ...


class Interrupted(SystemExit):
    """Raised after training was interrupted and has saved its state. Exit status 130."""

    def __init__(self) -> None:
        super().__init__(130)


def fit(
    trainer: Trainer,
    loader: Loader,
    *,
    schedule: Schedule,
    end_epoch: int,
    checkpoints: Checkpoints,
    metrics: Metrics = detection_metrics,
    resumed: Checkpoint | None = None,
    begin_epoch: int = 0,
    frequent: int = 100,
    save_minutes: float = 30.0,
    stopped: threading.Event | None = None,
    processes: Processes = ALONE,
    watch: Watch | None = None,
    average: float = 0.0,
) -> Path:
    """Trains epochs `begin_epoch` to `end_epoch` - 1; returns the path of the final weights.

    schedule: maps the number of steps since epoch 0 to a learning rate. metrics: computes what is logged for a step,
    from the outputs and the batch of one device. resumed: the checkpoint to continue from, `checkpoints.newest()`;
    `trainer` must have been created with its args and auxs, and its optimizer state is loaded here. If None, the
    saved states of an earlier training are deleted. watch: validations, which may end training early, and reporters.
    average: the decay of a moving average of the weights (TRAIN.EMA), which is saved and validated; 0: none.
    Writes to the folder of the checkpoints: weights and state after each epoch, and every `save_minutes` within an
    epoch; `losses.jsonl`, the means over every `frequent` steps; `losses.png`, updated after an epoch at most once a
    minute, and at the end.
    stopped: when it is set, training finishes the current step, saves its state and raises Interrupted (see
    `lib.cli.signals.stop_requested`). processes: those that train together; they stop and save after the same step,
    whichever of them was asked to. Only the first writes; what is logged covers all. Raises InputError if a loss
    becomes infinite or NaN, another process has ended, or `resumed` is from within an epoch on another number of
    devices.
    """
    run = _Run(
        trainer, loader, schedule, metrics, checkpoints, max(frequent, 1), 60 * save_minutes,
        stopped or threading.Event(), processes, watch or Watch(), 0.0 if processes.rank else average,
    )  # fmt: skip
    epoch, start = begin_epoch, 0
    if resumed is None:
        if run.first:
            checkpoints.forget()
    else:
        epoch, start = resumed.epoch, resumed.step
        if start and run.devices != resumed.devices and run.devices and resumed.devices:
            raise InputError(
                f"{checkpoints.prefix}-latest is from the middle of epoch {epoch + 1} of a training on "
                f"{resumed.devices} devices, but there are {run.devices} in all processes now; use {resumed.devices}, "
                "or delete it to continue from the end of the last epoch"
            )
        trainer.load_state(resumed.optimizer)
        if run.average:
            trainer.load_averages(resumed.averages)
        run.window, run.epoch_totals = split(resumed.totals, "window", "epoch")
        if epoch < end_epoch:
            log.info("continuing from epoch %d, step %d of %d", epoch + 1, start, len(loader))
        else:
            log.info("training is complete: epoch %d of %d", epoch, end_epoch)
    processes.total(np.zeros(1))  # until all have read the checkpoint
    if run.first:
        checkpoints.settle(epoch if resumed else 0)
        run.curves.cut(epoch, start)
        run.watch.begin(checkpoints.prefix.parent, epoch * len(loader) + start)
    return run.train(epoch, start, end_epoch)


@dataclass
class _Run:
    """The state of one call of `fit`."""

    trainer: Trainer
    loader: Loader
    schedule: Schedule
    metrics: Metrics
    checkpoints: Checkpoints
    frequent: int
    save_seconds: float
    stopped: threading.Event
    processes: Processes
    watch: Watch
    average: float
    # (sum, count) of each metric since the last log line, and since the start of the epoch
    window: dict[str, np.ndarray] = field(default_factory=dict)
    epoch_totals: dict[str, np.ndarray] = field(default_factory=dict)
    # the time and the first step of this run, and the number of steps of the whole training
    began: float = 0.0
    steps_before: int = 0
    total_steps: int = 0

    def __post_init__(self) -> None:
        self.first = self.processes.rank == 0
        self.devices = self.processes.count * len(self.processes.devices)
        folder = self.checkpoints.prefix.parent
        self.curves = Curves(folder / "losses.jsonl", folder / "losses.png")

    def train(self, epoch: int, start: int, end_epoch: int) -> Path:
        steps = len(self.loader)
        path = self.checkpoints.path(epoch)
        drawn = time.monotonic()
        self.began, self.steps_before, self.total_steps = drawn, epoch * steps + start, max(end_epoch, epoch) * steps
        with tqdm(
            total=self.total_steps,
            initial=self.steps_before,
            unit=" steps",
            disable=None if self.first else True,  # None: unless this is a terminal
        ) as bar:
            over = self._validate(epoch * steps + start)  # a validation that was due when the last run ended
            if over and start:
                path = self._save(epoch, start)
            for number in range(epoch, end_epoch):
                if over:
                    break
                bar.set_description(f"epoch {number + 1}/{end_epoch}")
                ended = self._train_epoch(number, start if number == epoch else 0, bar)
                if ended:
                    path, over = ended, True
                    break
                log.info("epoch %d: %s", number + 1, _format(_means(self.epoch_totals)))
                self.window, self.epoch_totals = {}, {}
                path = self._save(number + 1, 0)
                log.info("saved %s", path)
                if self.first and (number + 1 == end_epoch or time.monotonic() - drawn > _DRAW_SECONDS):
                    self.curves.draw(steps)
                    drawn = time.monotonic()
                (stop,) = self.processes.total(np.array([self.stopped.is_set()], np.float64))
                if stop and number + 1 < end_epoch:
                    self._interrupt(number + 1, 0)
                over = self._validate((number + 1) * steps)
        if self.first:
            if over or epoch >= end_epoch:  # the process may have died before it drew them
                self.curves.draw(steps)
            self.watch.end(steps * end_epoch)
        return path

    def _validate(self, step: int) -> bool:
        """Validates if it is due after `step` steps; the other processes wait. Returns whether training ends early."""
        if not self.watch.due(step):
            return False
        if self.first:
            self.watch.validate(step, self.trainer, self.checkpoints)
        (over,) = self.processes.total(np.array([self.first and self.watch.over], np.float64))
        if over:
            log.info("stopping early: no better mAP in %d validations", self.watch.patience)
        return bool(over)

    def _train_epoch(self, epoch: int, start: int, bar: tqdm) -> Path | None:
        """Runs an epoch from step `start`. If `stopped` is set before its last step, saves and raises Interrupted.

        Returns the path of the weights if a validation within it ended training, else None.
        """
        steps = len(self.loader)
        saved = started = time.monotonic()
        images, waiting = 0.0, 0.0
        with contextlib.closing(self.loader.epoch(epoch, start)) as batches:
            for number in range(start, steps):
                requested = time.monotonic()
                batch = next(batches)
                waiting += time.monotonic() - requested
                lr = self.schedule(epoch * steps + number)
                outputs = self.trainer.step(batch, lr)
                if self.average:
                    self.trainer.average(average_decay(self.average, epoch * steps + number))
                now = time.monotonic()
                shown = sum(len(next(iter(part.values()))) for part in batch)
                save = self.first and now - saved > self.save_seconds
                shown, stop, save = self._measure(epoch, number, outputs, batch, (shown, self.stopped.is_set(), save))
                images += shown
                done = number + 1
                if not bar.disable:
                    bar.set_postfix(_rounded(_means(self.window), images / (now - started)), refresh=False)
                bar.update()
                if done % self.frequent == 0 or done == steps:
                    self._log(epoch, done, lr, images / (now - started), waiting / (now - started))
                    images, waiting, started = 0.0, 0.0, now
                if done < steps and stop:
                    self._interrupt(epoch, done)
                if done < steps and save:
                    self._save(epoch, done)
                    saved = time.monotonic()
                if done < steps and self.watch.due(epoch * steps + done):
                    before = time.monotonic()
                    if self._validate(epoch * steps + done):
                        return self._save(epoch, done)
                    started += time.monotonic() - before  # the speed is that of training
        return None

    def _log(self, epoch: int, done: int, lr: float, speed: float, waiting: float) -> None:
        """Logs the means since the last time. speed: images per second; waiting: share of the time."""
        steps, means = len(self.loader), _means(self.window)
        if self.first:
            self.curves.add(epoch, done, lr, means)
            figures = {**means, "lr": lr, "images_per_second": speed}
            self.watch.log(epoch * steps + done, figures, self.trainer)
        log.info(
            "epoch %d step %d/%d, lr %.3g, %.2f images/s, %.0f %% waiting for data, %s to go, %s",
            *(epoch + 1, done, steps, lr, speed, 100 * waiting, self._left(epoch * steps + done), _format(means)),
        )
        self.window = {}

    def _left(self, step: int) -> str:
        """The time for the rest of the training at the speed of this run, saving and validations included."""
        each = (time.monotonic() - self.began) / (step - self.steps_before)
        return str(datetime.timedelta(seconds=round(each * (self.total_steps - step))))

    def _measure(
        self, epoch: int, number: int, outputs: Sequence[Arrays], batches: Sequence[Arrays], own: Sequence[float]
    ) -> np.ndarray:
        """Adds the metrics of a step to the totals, those of all processes in one exchange, which also sums `own`."""
        found: dict[str, np.ndarray] = {}
        for output, batch in zip(outputs, batches):
            for name, pair in self.metrics(output, batch).items():
                found[name] = found.get(name, np.zeros(2)) + np.array(pair)
        summed = self.processes.total(np.concatenate([np.array(own, np.float64), *found.values()]))
        for name, pair in zip(found, summed[len(own) :].reshape(-1, 2)):
            if not math.isfinite(pair[0]):
                raise InputError(
                    f"training diverged: {name} is {pair[0]} in epoch {epoch + 1}, step {number + 1}; "
                    "lower TRAIN.lr, use TRAIN.warmup or set TRAIN.CLIP_GRADIENT"
                )
            for totals in (self.window, self.epoch_totals):
                totals[name] = totals.get(name, np.zeros(2)) + pair
        return summed[: len(own)]

    def _save(self, epoch: int, step: int) -> Path:
        """All processes wait until the first has written the checkpoint."""
        path = self.checkpoints.path(epoch)
        if self.first:
            args, auxs = self.trainer.params()
            totals = join(window=self.window, epoch=self.epoch_totals)
            state, averages = self.trainer.state(), self.trainer.averages()
            path = self.checkpoints.save(Checkpoint(epoch, step, args, auxs, state, totals, self.devices, averages))
        self.processes.total(np.zeros(1))
        return path

    def _interrupt(self, epoch: int, step: int) -> None:
        if step:
            self._save(epoch, step)
        log.warning(
            "interrupted in epoch %d after %d steps, state saved; run the same command with --resume to continue",
            epoch + 1,
            step,
        )
        raise Interrupted


def _means(totals: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(total / count) if count else 0.0 for name, (total, count) in totals.items()}


def _format(means: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in means.items())


def _rounded(means: Mapping[str, float], speed: float) -> dict[str, str]:
    return {**{name: f"{value:.3f}" for name, value in means.items()}, "images/s": f"{speed:.1f}"}
