"""What follows a training from outside: validations and reporters. It changes nothing in the training."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lib.backends.base import Trainer
from lib.nets import params
from lib.training.checkpoints import Checkpoints
from lib.training.reporters import Reporter, TensorBoard
from lib.training.validation import Evaluate, History

log = logging.getLogger(__name__)


@dataclass
class Watch:
    """every: steps between validations; 0: none. evaluate: set in the first process only, as are the reporters.

    patience: see `History`.
    """

    every: int = 0
    evaluate: Evaluate | None = None
    reporters: Sequence[Reporter] = ()
    patience: int = 0
    history: History | None = field(default=None, init=False)

    def begin(self, folder: Path, step: int) -> None:
        """Called in the first process before the first step, or where training continues."""
        self.history = History(folder / "validations.jsonl", self.patience)
        self.history.cut(step)

    def due(self, step: int) -> bool:
        """Whether to validate after `step` steps."""
        return bool(self.every) and step > 0 and step % self.every == 0

    @property
    def over(self) -> bool:
        """Whether validations say that training should end."""
        return self.history is not None and self.history.over

    def log(self, step: int, values: Mapping[str, float], trainer: Trainer) -> None:
        """Hands figures to the reporters, with the norm of the last gradient."""
        if not self.reporters:
            return
        norm = np.sqrt(sum(float(np.vdot(each, each)) for each in trainer.gradients().values()))
        for reporter in self.reporters:
            reporter("train", step, {**values, "gradient_norm": float(norm)})

    def validate(self, step: int, trainer: Trainer, checkpoints: Checkpoints) -> None:
        """Evaluates the averaged weights (TRAIN.EMA), or the current ones if none are averaged, and keeps them as
        `<prefix>-best.params` if they are the best so far."""
        if self.evaluate is None or self.history is None or step in self.history:
            return
        started = time.monotonic()
        trained, auxs = trainer.params()
        averages = trainer.averages()
        args = checkpoints.completed({**trained, **averages})
        found, images = self.evaluate(args, auxs)
        overall = next(iter(found.values()))
        best = self.history.better(overall.value)
        if best:
            params.save(checkpoints.best, args, auxs)
        self.history.add(step, found)
        log.info(
            "validation%s after %d steps: mAP %.4f (95 %% interval %.4f to %.4f)%s, %.0f s",
            *(" of the averaged weights" if averages else "", step, overall.value, overall.low, overall.high),
            f", the best so far: {checkpoints.best}" if best else "",
            time.monotonic() - started,
        )
        for reporter in self.reporters:
            reporter("validate", step, {f"mAP_{name}": each.value for name, each in found.items()})
            if isinstance(reporter, TensorBoard):
                reporter.images(step, images)

    def end(self, step: int) -> None:
        for reporter in self.reporters:
            reporter("end", step, {})
