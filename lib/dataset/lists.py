"""List files: reading them, and making them from a dataset folder as the published ones were made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib.errors import InputError


@dataclass(frozen=True)
class Row:
    """One line of a list: its number, its first column (a path), the other columns as integers."""

    line: int
    name: str
    numbers: tuple[int, ...]


def read_rows(path: str | Path, form: str) -> list[Row]:
    """Reads a list whose lines look like `form` (say `<video> 1 <frame> <n>`): a path, then integers from 0 on.

    InputError: no such file, nothing in it, a wrong number of columns, a column that is no such integer, with the line.
    """
    path = Path(path)
    columns = len(form.split())
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: list file cannot be read ({error}); put it there or name another set") from error
    rows = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != columns:
            raise InputError(f"{path}:{number}: {len(fields)} columns instead of {columns}; write `{form}`")
        if not all(field.isascii() and field.isdigit() for field in fields[1:]):
            raise InputError(f"{path}:{number}: only the first column may be text; write `{form}` in whole numbers")
        rows.append(Row(number, fields[0], tuple(map(int, fields[1:]))))
    if not rows:
        raise InputError(f"{path}: an empty list; write `{form}`, one a line")
    return rows
