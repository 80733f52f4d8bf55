"""The training loop: any network, any losses."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from lib.backends.base import Arrays, Trainer
from lib.errors import InputError
from lib.training.checkpoints import Checkpoint, Checkpoints
from lib.training.curves import Curves
from lib.training.metrics import Metrics, detection_metrics
from lib.training.schedules import Schedule

log = logging.getLogger(__name__)

_DRAW_SECONDS = 60.0


class Loader(Protocol):
    """Steps of an epoch: `lib.dataset.loader.TrainLoader`."""

    def __len__(self) -> int: ...
    def epoch(self, epoch: int, start: int = 0) -> Generator[Sequence[Arrays], None, None]: ...


class Interrupted(SystemExit):
    """Training was stopped from outside and has saved its state; exit status 130."""

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
) -> Path:
    """Trains epochs `begin_epoch`..`end_epoch` - 1; returns the path of the last weights.

    schedule: learning rate by the number of steps since epoch 0. metrics: what to show of a step, for each device.
    resumed: `checkpoints.newest()` to go on from there; `trainer` must have been made with its args and auxs, its
    optimizer is set here. Without it the states of an earlier training are removed.
    Writes, in the folder of the checkpoints: weights and state after each epoch, and every `save_minutes` within one;
    `losses.jsonl` with the means of every `frequent` steps; `losses.png` at the end, and after an epoch where the last
    picture is a minute old.
    stopped: once it is set, the step that runs is finished, the state saved, and Interrupted raised (see
    `lib.cli.signals.stop_requested`). Raises InputError where a loss is no longer a finite number.
    """
    run = _Run(trainer, loader, schedule, metrics, checkpoints, max(frequent, 1), save_minutes)
    epoch, start = begin_epoch, 0
    if resumed is None:
        checkpoints.forget()
    else:
        epoch, start = resumed.epoch, resumed.step
        trainer.load_state(resumed.optimizer)
        run.window, run.whole = _read_totals(resumed.totals, "window"), _read_totals(resumed.totals, "epoch")
        log.info("continuing from epoch %d, step %d of %d", epoch + 1, start, len(loader))
    run.curves.cut(epoch, start)
    return run.train(epoch, start, end_epoch, stopped or threading.Event())


class _Run:
    """The state of one call of `fit`."""

    def __init__(
        self,
        trainer: Trainer,
        loader: Loader,
        schedule: Schedule,
        metrics: Metrics,
        checkpoints: Checkpoints,
        frequent: int,
        save_minutes: float,
    ) -> None:
        self.trainer, self.loader, self.schedule, self.metrics = trainer, loader, schedule, metrics
        self.checkpoints, self.frequent, self.save_seconds = checkpoints, frequent, 60 * save_minutes
        folder = checkpoints.prefix.parent
        self.curves = Curves(folder / "losses.jsonl", folder / "losses.png")
        # sums and counts since the last line of the log, and of the epoch
        self.window: dict[str, np.ndarray] = {}
        self.whole: dict[str, np.ndarray] = {}

    def train(self, epoch: int, start: int, end_epoch: int, stopped: threading.Event) -> Path:
        steps = len(self.loader)
        path = self.checkpoints.path(epoch)
        drawn = time.monotonic()
        with tqdm(
            total=max(end_epoch, epoch) * steps, initial=epoch * steps + start, unit=" steps", disable=None
        ) as bar:
            for number in range(epoch, end_epoch):
                bar.set_description(f"epoch {number + 1}/{end_epoch}")
                self._epoch(number, start if number == epoch else 0, bar, stopped)
                log.info("epoch %d: %s", number + 1, _shown(_means(self.whole)))
                self.window, self.whole = {}, {}
                path = self._save(number + 1, 0)
                log.info("saved %s", path)
                if number + 1 == end_epoch or time.monotonic() - drawn > _DRAW_SECONDS:
                    self.curves.draw(steps)
                    drawn = time.monotonic()
                if stopped.is_set() and number + 1 < end_epoch:
                    self._leave(number + 1, 0)
        return path

    def _epoch(self, epoch: int, start: int, bar: tqdm, stopped: threading.Event) -> None:
        """Steps `start`.. of an epoch; saves and raises Interrupted where `stopped` is set before its last step."""
        steps = len(self.loader)
        saved = began = time.monotonic()
        images, waited = 0, 0.0
        with contextlib.closing(self.loader.epoch(epoch, start)) as batches:
            for number in range(start, steps):
                asked = time.monotonic()
                batch = next(batches)
                waited += time.monotonic() - asked
                lr = self.schedule(epoch * steps + number)
                outputs = self.trainer.step(batch, lr)
                self._measure(epoch, number, outputs, batch)
                images += sum(len(next(iter(part.values()))) for part in batch)
                done = number + 1
                now = time.monotonic()
                if not bar.disable:
                    bar.set_postfix(_rounded(_means(self.window), images / (now - began)), refresh=False)
                bar.update()
                if done % self.frequent == 0 or done == steps:
                    means = _means(self.window)
                    self.curves.add(epoch, done, lr, means)
                    log.info(
                        "epoch %d step %d/%d, lr %.3g, %.2f images/s, %.0f %% waiting for data, %s",
                        *(epoch + 1, done, steps, lr, images / (now - began), 100 * waited / (now - began)),
                        _shown(means),
                    )
                    self.window = {}
                    images, waited, began = 0, 0.0, now
                if done < steps and stopped.is_set():
                    self._leave(epoch, done)
                if done < steps and now - saved > self.save_seconds:
                    self._save(epoch, done)
                    saved = time.monotonic()

    def _measure(self, epoch: int, number: int, outputs: Sequence[Arrays], batches: Sequence[Arrays]) -> None:
        for output, batch in zip(outputs, batches):
            for name, (total, count) in self.metrics(output, batch).items():
                if not math.isfinite(total):
                    raise InputError(
                        f"training diverged: {name} is {total} in epoch {epoch + 1}, step {number + 1}; "
                        "lower TRAIN.lr, use TRAIN.warmup or set TRAIN.CLIP_GRADIENT"
                    )
                for totals in (self.window, self.whole):
                    totals[name] = totals.get(name, np.zeros(2)) + np.array([total, count])

    def _save(self, epoch: int, step: int) -> Path:
        args, auxs = self.trainer.params()
        totals = {**_write_totals(self.window, "window"), **_write_totals(self.whole, "epoch")}
        return self.checkpoints.save(Checkpoint(epoch, step, args, auxs, self.trainer.state(), totals))

    def _leave(self, epoch: int, step: int) -> None:
        if step:
            self._save(epoch, step)
        log.warning(
            "stopped in epoch %d after %d steps and saved; run the same command with --resume to go on",
            epoch + 1,
            step,
        )
        raise Interrupted


def _means(totals: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(total / count) if count else 0.0 for name, (total, count) in totals.items()}


def _shown(means: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in means.items())


def _rounded(means: Mapping[str, float], speed: float) -> dict[str, str]:
    return {**{name: f"{value:.3f}" for name, value in means.items()}, "images/s": f"{speed:.1f}"}


def _write_totals(totals: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    return {f"{kind}/{name}": value for name, value in totals.items()}


def _read_totals(totals: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    start = f"{kind}/"
    return {name[len(start) :]: value for name, value in totals.items() if name.startswith(start)}
