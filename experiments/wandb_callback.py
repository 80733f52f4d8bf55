"""Sends the figures of a training to Weights & Biases; see "Watching a training" in docs/training.md."""

from __future__ import annotations

from collections.abc import Mapping

import wandb


def log(event: str, step: int, values: Mapping[str, float]) -> None:
    run = wandb.run or wandb.init(project="fgfa")
    if event == "end":
        run.finish()
    else:
        run.log({f"{event}/{name}": value for name, value in values.items()}, step=step)
