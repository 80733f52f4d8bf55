"""Class lists: the classes of a dataset in order, with their names and colours.

Classes are numbered from 1 in the order of the list; 0 is the background.
"""

from __future__ import annotations

import colorsys
import difflib
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lib.errors import InputError, quoted, read_text
from lib.reading import NOT_XML

BUILTIN = {"ImageNetVID": Path(__file__).parent / "classes" / "imagenet_vid.txt"}
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
MOST_CLASSES = 2**15 - 1  # what a binary detection file can number
GOLDEN_RATIO = 0.618033988749895
ALIKE = 0.8  # two names at least this similar may be one name and a misspelling of it


@dataclass(frozen=True)
class ClassList:
    """C classes in order: `ids` as used in annotations, `names` for display, `colours` as (r, g, b), 0..255."""

    ids: list[str]
    names: list[str]
    colours: list[tuple[int, int, int]]

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each class, 1..C, by id."""
        return {class_id: number for number, class_id in enumerate(self.ids, 1)}

    @classmethod
    def load(cls, path: str | Path) -> ClassList:
        """Reads a file with one class per line, `id name [#rrggbb]`, skipping blank lines and lines starting with `#`.

        A class without a colour gets one that depends on its number. Raises InputError if the file is missing, a line
        is malformed, an id or name is repeated, or there is no class.
        """
        path = Path(path)
        text = read_text(path, "give a text file with lines `id name`", "class list cannot be read")
        return cls._parse(path, text.splitlines())

    @classmethod
    def builtin(cls, name: str) -> ClassList:
        """A class list that ships with the project (`ImageNetVID`). Raises InputError for an unknown name."""
        if name not in BUILTIN:
            raise InputError(f"no built-in class list {quoted(name)}; use {', '.join(BUILTIN)} or give a file")
        return cls.load(BUILTIN[name])

    @classmethod
    def of_dataset(cls, root: str | Path, given: str | Path | None = None) -> ClassList:
        """The list in the file `given`, or else the dataset's `classes.txt`, or else the 30 classes of ImageNet VID."""
        own = Path(given or Path(root) / "classes.txt")
        return cls.load(own) if given or own.exists() else cls.builtin("ImageNetVID")

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
                    raise InputError(
                        f"{path}:{number}: {what} {quoted(word)[1:-1]} is already in line {seen[word]}; remove one"
                    )
                if NOT_XML.search(word):
                    raise InputError(f"{path}:{number}: {what} {quoted(word)} has a control character; remove it")
                seen[word] = number
            if len(fields) == 2:
                colours.append(default_colour(len(ids)))
            elif COLOUR.fullmatch(fields[2]):
                red, green, blue = bytes.fromhex(fields[2][1:])
                colours.append((red, green, blue))
            else:
                raise InputError(
                    f"{path}:{number}: {quoted(fields[2])[1:-1]} is not a colour; write #rrggbb or leave it out"
                )
        if len(ids) > MOST_CLASSES:
            raise InputError(f"{path}: {len(ids)} classes; the limit is {MOST_CLASSES}")
        if not ids:
            raise InputError(f"{path}: contains no class; write `id name [#rrggbb]`, one per line")
        return cls(list(ids), list(names), colours)


def default_colour(number: int) -> tuple[int, int, int]:
    """Colour (r, g, b) of class `number`. Hues advance by the golden ratio, which keeps nearby numbers far apart."""
    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN_RATIO % 1.0, (0.65, 0.95)[number % 2], 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def alike(one: str, other: str) -> bool:
    """Whether one class name may be a misspelling of the other, such as duck and dukc. Names that differ in a number
    (car1, car2) are not."""
    if "".join(filter(str.isdigit, one)) != "".join(filter(str.isdigit, other)):
        return False
    one, other = one.casefold(), other.casefold()
    return sorted(one) == sorted(other) or difflib.SequenceMatcher(None, one, other).ratio() >= ALIKE


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` with the first of `known` that `word` may be a misspelling of, or an empty string."""
    return next((f" (did you mean {each}?)" for each in known if alike(word, each)), "")
