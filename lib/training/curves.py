"""Loss curves: JSON lines during training, and a plot of them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib.files import replacing

log = logging.getLogger(__name__)


class Curves:
    """A file of lines `{"epoch": 0, "step": 100, "lr": 0.1, "losses": {name: mean}}`, and a plot of them.

    Each line has the means over the steps since the previous one, after `step` steps of `epoch` (from 0).
    """

    def __init__(self, lines: Path, plot: Path) -> None:
        self._lines, self._plot = lines, plot

    def _read(self) -> list[dict]:
        if not self._lines.is_file():
            return []
        lines = self._lines.read_bytes().splitlines()
        good = [line for line in map(_parsed, lines) if line is not None]
        if len(good) < len(lines):  # one was cut off when the process died, or the file was damaged
            log.warning("%s: skipping %d damaged lines", self._lines, len(lines) - len(good))
        return good

    def cut(self, epoch: int, step: int) -> None:
        """Drops the lines after `step` steps of `epoch`, where training continues."""
        kept = [line for line in self._read() if (line["epoch"], line["step"]) <= (epoch, step)]
        with replacing(self._lines) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def add(self, epoch: int, step: int, lr: float, losses: Mapping[str, float]) -> None:
        line = {"epoch": epoch, "step": step, "lr": lr, "losses": dict(losses)}
        with open(self._lines, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def draw(self, steps_per_epoch: int) -> None:
        """Draws a panel for each loss and one for the learning rate, over the epochs."""
        lines = self._read()
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


def _parsed(line: bytes) -> dict | None:
    """A line of the file; None if it is damaged."""
    try:
        found = json.loads(line)
        numbers = [found["lr"], *found["losses"].values()]
        whole = [found["epoch"], found["step"]]
        good = all(type(value) is int and 0 <= value < 2**31 for value in whole) and all(
            type(value) in (int, float) and math.isfinite(value) for value in numbers
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    return found if good else None
