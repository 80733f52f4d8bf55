"""The settings that determine a MiniVID dataset, stored in `minivid.json` at its root."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from lib.dataset.jpeg import check_size
from lib.errors import InputError, quoted
from lib.files import write_json
from lib.reading import foreign, read_json

_MOST = 10**6
MOST_POOL = 8 << 30  # bytes of the images that pre-training keeps in memory; 16384 pairs of MiniVID take 4.5 GiB
FILE = "minivid.json"
VERSION = 3  # increased whenever the same settings would give different files


@dataclass(frozen=True)
class Settings:
    """Seed; clips per split; frames per clip; frame size in pixels; version of the generator."""

    seed: int = 0
    train: int = 200
    val: int = 60
    frames: int = 24
    height: int = 192
    width: int = 256
    version: int = VERSION

    @property
    def clips(self) -> dict[str, int]:
        """Number of clips by split."""
        return {"train": self.train, "val": self.val}

    def check(self, where: str = "--") -> None:
        """Raises InputError if no dataset can be made with these settings; `where` comes before their names."""
        least = {"seed": 0, "train": 0, "val": 0, "frames": 1, "height": 64, "width": 64, "version": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= _MOST:
                raise InputError(f"{where}{name} is {quoted(value)}; it must be a whole number from {low} to {_MOST}")
        check_size(self.width, self.height, f"{where}width x height")
        if self.train + self.val == 0:
            raise InputError(f"{where}train and val are both 0; ask for at least one clip")

    def difference(self, other: Settings) -> str:
        """The settings that differ, as `name: mine, not other's`; empty if none do."""
        pairs = (
            (field.name, getattr(self, field.name), getattr(other, field.name)) for field in dataclasses.fields(self)
        )
        return "; ".join(f"{name}: {mine}, not {others}" for name, mine, others in pairs if mine != others)

    def write(self, root: Path) -> None:
        """Writes the settings to the dataset folder `root`."""
        write_json(root / FILE, dataclasses.asdict(self), indent=2, pipes=False)

    @classmethod
    def load(cls, root: Path) -> Settings:
        """Reads the settings of the dataset at `root`. Raises InputError if there is none, or they are invalid."""
        path = Path(root) / FILE
        if not path.is_file():
            raise InputError(f"{root}: not a MiniVID dataset (no {FILE}); make one with python -m lib.dataset.minivid")
        with foreign(path, "not the settings of a MiniVID dataset", "remove the folder"):
            settings = cls(**read_json(path, "remove the folder"))
        settings.check(f"{path}: ")
        return settings


def check_pool(section: str, count: int, batch: int, size: int) -> None:
    """Raises InputError if a pool of `count` examples of `size` bytes does not suffice for a batch, or is too large."""
    if count < batch:
        raise InputError(f"{section}.pool gives {count} examples, fewer than {section}.batch {batch}; increase it")
    if count * size > MOST_POOL:
        needed, most = count * size >> 30, MOST_POOL >> 30
        raise InputError(
            f"{section}.pool of {count} examples takes {needed} GiB of memory, more than {most}; reduce it"
        )
