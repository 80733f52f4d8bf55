"""Results as tables, in plain text or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.errors import InputError
from lib.eval.bootstrap import FEW_VIDEOS, Difference, Interval
from lib.eval.evaluation import Evaluation
from lib.eval.ranges import contains_all, shown_order
from lib.files import replacing

FEW_NOTE = f"No * where fewer than {FEW_VIDEOS} videos have objects: too few to tell a difference from chance."


@dataclass(frozen=True)
class Table:
    """A title, column names, and rows that start with a label. matrix: whether the cells of a row share a whole; note:
    a line below the table, if not empty."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    matrix: bool = False
    note: str = ""

    def text(self) -> str:
        """Plain text with aligned columns."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        shown = []
        for label, *cells in lines:
            padded = [label.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:]))]
            shown.append("  ".join(padded))
        return "\n".join([self.title, *(line.rstrip() for line in shown), *([self.note] if self.note else [])]) + "\n"

    def markdown(self) -> str:
        """A Markdown table below its title."""
        lines = ["| " + " | ".join(line) + " |" for line in (self.columns, *self.rows)]
        lines.insert(1, "|---|" + "---:|" * (len(self.columns) - 1))
        return "\n".join([f"**{self.title}**", "", *lines, *(["", self.note] if self.note else [])]) + "\n"


@dataclass(frozen=True)
class Report:
    """The tables of one result."""

    tables: list[Table]

    def text(self) -> str:
        """All tables as plain text."""
        return "\n".join(table.text() for table in self.tables)

    def markdown(self) -> str:
        """All tables as Markdown."""
        return "\n".join(table.markdown() for table in self.tables)


def report(result: Evaluation, intervals: dict[str, Interval] | None = None, coco: dict | None = None) -> Report:
    """Tables of mAP by motion, by motion and area, and by class, and of the COCO figures if given."""
    tables = [motion_table(result, intervals), motion_area_table(result), class_table(result)]
    if coco is not None:
        names = [name for name in coco if name != "classes"]
        tables.append(Table("COCO style", ["%", *names], [["mean", *(percent(coco[name]) for name in names)]]))
    return Report(tables)


def motion_table(result: Evaluation, intervals: dict[str, Interval] | None = None, label: str = "mAP") -> Table:
    """Mean AP in % for all areas (the first area range), one column per motion range."""
    order = motion_columns(result)
    cells = [percent(result.mean[r, 0]) for r in order]
    if intervals is not None:
        cells = [spread(intervals[result.motion_ranges[r].name]) for r in order]
    title = "Mean average precision by motion, %" + (" [95 % interval over videos]" if intervals is not None else "")
    return Table(title, ["", *(result.motion_ranges[r].name for r in order)], [[label, *cells]])


def motion_area_table(result: Evaluation) -> Table:
    """Mean AP in %, rows slow, medium, fast, all; columns small, middle, large, all."""
    rows, columns = grid(result)
    return Table(
        "Mean average precision by motion and area, %",
        ["", *(result.area_ranges[a].name for a in columns)],
        [[result.motion_ranges[r].name, *(percent(result.mean[r, a]) for a in columns)] for r in rows],
    )


def class_table(result: Evaluation) -> Table:
    """AP in % of each class by motion for all areas, with the number of objects; the mean in the last row."""
    order = motion_columns(result)
    rows = [
        [name, str(int(result.objects[order[0], 0, c])), *(percent(result.ap[r, 0, c]) for r in order)]
        for c, name in enumerate(result.classes.names)
    ]
    rows.append(["mean", str(int(result.objects[order[0], 0].sum())), *(percent(result.mean[r, 0]) for r in order)])
    columns = ["class", "objects", *(result.motion_ranges[r].name for r in order)]
    return Table("Average precision by class, %", columns, rows)


def difference_table(difference: Difference, result: Evaluation) -> Table:
    """B - A in percentage points with intervals: the mean, then each class; * marks those that exclude 0, except with
    few videos."""
    names = [result.motion_ranges[r].name for r in motion_columns(result)]
    rows = [["mean", *(spread(difference.mean[name], signed=True) for name in names)]]
    for c in result.classes.names:
        rows.append([c, *(spread(difference.classes[name][c], signed=True) for name in names)])
    title = "B - A, points of average precision [95 % interval, paired over videos; * excludes 0]"
    shown = [each for name in names for each in (difference.mean[name], *difference.classes[name].values())]
    few = any(each is not None and each.of_few_videos for each in shown)
    return Table(title, ["", *names], rows, note=FEW_NOTE if few else "")


def motion_columns(result: Evaluation) -> list[int]:
    """Indices of the motion ranges in the order all, slow, medium, fast."""
    order = shown_order(result.motion_ranges, descending=True)
    return order[-1:] + order[:-1] if contains_all(result.motion_ranges, order[-1]) else order


def grid(result: Evaluation) -> tuple[list[int], list[int]]:
    """Indices of the motion ranges slow, medium, fast, all and of the area ranges small, middle, large, all."""
    return shown_order(result.motion_ranges, descending=True), shown_order(result.area_ranges)


def put_between(page: Path, markers: tuple[str, str], text: str) -> None:
    """Replaces what is between two lines of a Markdown page. Raises InputError if one of them is missing."""
    before, start, rest = page.read_text(encoding="utf-8").partition(markers[0])
    _, end, after = rest.partition(markers[1])
    if not start or not end:
        raise InputError(f"{page}: the markers {markers[0]} and {markers[1]} are missing; add them")
    with replacing(page) as path:
        path.write_text(f"{before}{start}\n{text}{end}{after}", encoding="utf-8")


def percent(value: float, signed: bool = False) -> str:
    """A fraction in %; `-` for -1, which means no objects."""
    if not signed and value < 0:
        return "-"
    return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"


def spread(interval: Interval | None, signed: bool = False) -> str:
    """A value in % with its interval."""
    if interval is None or (interval.low, interval.high) == (-1.0, -1.0):
        return "-"
    low, high = percent(interval.low, signed), percent(interval.high, signed)
    return f"{percent(interval.value, signed)} [{low}, {high}]" + ("*" if signed and interval.is_significant() else "")


def side_by_side(results: dict[str, tuple[Evaluation, dict[str, Interval]]], columns: Sequence[str]) -> Table:
    """One row per method, one column per motion range, with intervals."""
    rows = [[name, *(spread(intervals[column]) for column in columns)] for name, (_, intervals) in results.items()]
    return Table("Mean average precision by motion, % [95 % interval over videos]", ["", *columns], rows)
