"""Results as pictures: precision-recall curves by class, and mAP by motion and area."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lib.eval.evaluation import Evaluation
from lib.eval.tables import grid, motion_columns, percent
from lib.files import replacing

POINTS = 2000  # maximum number of points per curve; a picture cannot show more


def picture_paths(folder: Path) -> list[Path]:
    """The files that `save_pictures` writes."""
    return [Path(folder) / "precision_recall.png", Path(folder) / "motion_area.png"]


def save_pictures(result: Evaluation, folder: Path) -> list[Path]:
    """Write precision_recall.png and motion_area.png to `folder` and return their paths."""
    paths = picture_paths(folder)
    with rc_context({"text.parse_math": False}):  # names may contain $
        draw_curves(result, paths[0])
        draw_motion_area(result, paths[1])
    return paths


def draw_curves(result: Evaluation, path: Path) -> None:
    """Plot interpolated precision over recall: one plot per class with objects, one line per motion range."""
    order = motion_columns(result)
    shown = [c for c in range(len(result.classes)) if result.objects[order[0], 0, c] > 0]
    columns = min(max(len(shown), 1), 6)
    rows = max(math.ceil(len(shown) / columns), 1)
    figure = Figure(figsize=(2.4 * columns + 0.6, 2.2 * rows + 0.8), layout="constrained")
    plots = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for plot, c in zip(plots, shown):
        for number, r in enumerate(order):
            if result.ap[r, 0, c] < 0:
                continue
            recall, precision, _ = result.outcomes.curve(r, 0, c)
            best = np.maximum.accumulate(precision[::-1])[::-1]
            some = np.unique(np.linspace(0, len(best) - 1, POINTS).astype(int)) if len(best) else np.empty(0, int)
            label = f"{result.motion_ranges[r].name} {percent(result.ap[r, 0, c])}"
            x, y = [0, *recall[some]], [best[0] if len(best) else 0, *best[some]]
            plot.plot(x, y, lw=1.2, color=f"C{number}", label=label)
        plot.set_title(result.classes.names[c], fontsize=9)
        plot.set(xlim=(0, 1), ylim=(0, 1.03))
        plot.tick_params(labelsize=7)
        plot.legend(fontsize=6, loc="lower left", framealpha=0.6)
    for plot in plots[len(shown) :]:
        plot.set_axis_off()
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    _save(figure, path)


def draw_motion_area(result: Evaluation, path: Path) -> None:
    """Plot mAP by motion and area as coloured cells, with the number of objects in each."""
    rows, columns = grid(result)
    values = np.array([[result.mean[r, a] for a in columns] for r in rows])
    figure = Figure(figsize=(1.3 * len(columns) + 1.6, 0.8 * len(rows) + 1.2), layout="constrained")
    plot = figure.subplots()
    plot.imshow(np.ma.masked_less(values, 0), cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for y, r in enumerate(rows):
        for x, a in enumerate(columns):
            text = f"{percent(values[y, x])}\n{int(result.objects[r, a].sum()):,}"
            plot.text(x, y, text, ha="center", va="center", color="black" if not 0 <= values[y, x] < 0.6 else "white")
    plot.set_xticks(range(len(columns)), [result.area_ranges[a].name for a in columns])
    plot.set_yticks(range(len(rows)), [result.motion_ranges[r].name for r in rows])
    plot.set(xlabel="area", ylabel="motion", title="mAP in %, objects")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
