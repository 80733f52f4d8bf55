"""Class lists: which classes there are, in which order, under which names and colours.

A class's number is its place in the list, from 1; 0 is the background.
"""

from __future__ import annotations

import colorsys
import difflib
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lib.errors import InputError, read_text

BUILTIN = {"ImageNetVID": Path(__file__).parent / "classes" / "imagenet_vid.txt"}
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
GOLDEN_RATIO = 0.618033988749895
ALIKE = 0.8  # names that have so much in common may be one name and its misspelling


@dataclass(frozen=True)
class ClassList:
    """C classes in order: `ids` as the annotations write them, `names` for people, `colours` as (r, g, b) 0..255."""

    ids: list[str]
    names: list[str]
    colours: list[tuple[int, int, int]]

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {class_id: number for number, class_id in enumerate(self.ids, 1)}

    def index(self, class_id: str) -> int:
        """The class's number, 1..C. KeyError: no such class."""
        return self._numbers[class_id]

    @classmethod
    def load(cls, path: str | Path) -> ClassList:
        """Reads a file of one class a line, `id name [#rrggbb]`; empty lines and lines that start with `#` are skipped.

        A class without a colour gets one by its place in the list. InputError: no file, no class, a malformed line, an
        id or a name that was there before.
        """
        path = Path(path)
        text = read_text(path, "give a text file of `id name`", "class list cannot be read")
        return cls._parse(path, text.splitlines())

    @classmethod
    def builtin(cls, name: str) -> ClassList:
        """A list that comes with the project (`ImageNetVID`). InputError: no such list."""
        if name not in BUILTIN:
            raise InputError(f"no built-in class list {name!r}; there is {', '.join(BUILTIN)}, or give a file")
        return cls.load(BUILTIN[name])

    @classmethod
    def of_dataset(cls, root: str | Path) -> ClassList:
        """The dataset's own `classes.txt` where it has one, else the 30 classes of ImageNet VID."""
        own = Path(root) / "classes.txt"
        return cls.load(own) if own.exists() else cls.builtin("ImageNetVID")

    @classmethod
    def _parse(cls, path: Path, lines: Iterable[str]) -> ClassList:
        ids: dict[str, int] = {}
        names: dict[str, int] = {}
        colours = []
        for number, line in enumerate(lines, 1):
            fields = line.split()
            if not fields or line.startswith("#"):
                continue
            if not 2 <= len(fields) <= 3:
                raise InputError(f"{path}:{number}: {len(fields)} columns; write `id name [#rrggbb]`")
            for seen, word, what in ((ids, fields[0], "id"), (names, fields[1], "name")):
                if word in seen:
                    raise InputError(f"{path}:{number}: {what} {word} stands in line {seen[word]} too; remove one")
                seen[word] = number
            if len(fields) == 2:
                colours.append(default_colour(len(ids)))
            elif COLOUR.fullmatch(fields[2]):
                red, green, blue = bytes.fromhex(fields[2][1:])
                colours.append((red, green, blue))
            else:
                raise InputError(f"{path}:{number}: {fields[2]} is no colour; write #rrggbb or leave it out")
        if not ids:
            raise InputError(f"{path}: no class in it; write `id name [#rrggbb]`, one a line")
        return cls(list(ids), list(names), colours)


def default_colour(number: int) -> tuple[int, int, int]:
    """Colour (r, g, b) of class `number`: steps of the golden ratio round the colour circle never come close soon."""
    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN_RATIO % 1.0, (0.65, 0.95)[number % 2], 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def alike(one: str, other: str) -> bool:
    """Whether one class name may be a misspelling of the other; names that differ in a number (car1, car2) are not."""
    if "".join(filter(str.isdigit, one)) != "".join(filter(str.isdigit, other)):
        return False
    return difflib.SequenceMatcher(None, one.casefold(), other.casefold()).ratio() >= ALIKE
