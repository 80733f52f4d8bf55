"""Loss curves: JSON lines during training, and a plot of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib.files import replacing
from lib.training.lines import Lines, is_count


class Curves:
    """A file of lines `{"epoch": 0, "step": 100, "lr": 0.1, "losses": {name: mean}}`, and a plot of them.

    Each line has the means over the steps since the previous one, after `step` steps of `epoch` (from 0).
    """

    def __init__(self, lines: Path, plot: Path) -> None:
        self._lines, self._plot = Lines(lines, _valid), plot

    def cut(self, epoch: int, step: int) -> None:
        """Drops the lines after `step` steps of `epoch`, where training continues."""
        self._lines.cut(lambda line: (line["epoch"], line["step"]) <= (epoch, step))

    def add(self, epoch: int, step: int, lr: float, losses: Mapping[str, float]) -> None:
        self._lines.add({"epoch": epoch, "step": step, "lr": lr, "losses": dict(losses)})

    def draw(self, steps_per_epoch: int) -> None:
        """Draws a panel for each loss and one for the learning rate, over the epochs."""
        lines = self._lines.read()
        if not lines:
            return
        epochs = [line["epoch"] + line["step"] / steps_per_epoch for line in lines]
        names = list(lines[-1]["losses"])
        panels = {name: [line["losses"].get(name, math.nan) for line in lines] for name in names}
        panels["learning rate"] = [line["lr"] for line in lines]
        columns = min(3, len(panels))
        rows = -(-len(panels) // columns)
        figure = Figure(figsize=(4.5 * columns, 3 * rows))
        FigureCanvasAgg(figure)
        for number, (name, values) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(rows, columns, number)
            axes.plot(epochs, values, marker="." if len(epochs) < 30 else "", linewidth=1.2)
            axes.set_title(name, fontsize=10)
            axes.set_xlabel("epoch", fontsize=8)
            axes.grid(alpha=0.3)
        figure.tight_layout()
        with replacing(self._plot) as temporary:
            figure.savefig(temporary, dpi=110)


def _valid(line: dict) -> bool:
    return all(is_count(line[name]) for name in ("epoch", "step")) and all(
        type(value) in (int, float) and math.isfinite(value) for value in (line["lr"], *line["losses"].values())
    )
