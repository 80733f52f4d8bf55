"""What a MiniVID dataset is made from: a handful of numbers, kept in `minivid.json` at its root."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from lib.errors import InputError

FILE = "minivid.json"
VERSION = 3  # of the pictures: raised whenever the same settings would give other bytes


@dataclass(frozen=True)
class Settings:
    """Seed; clips in each split; frames in a clip; pixels of a frame; version of the generator."""

    seed: int = 0
    train: int = 200
    val: int = 60
    frames: int = 24
    height: int = 192
    width: int = 256
    version: int = VERSION

    @property
    def clips(self) -> dict[str, int]:
        """Clips of each split."""
        return {"train": self.train, "val": self.val}

    def check(self) -> Settings:
        """Returns itself; InputError for numbers that no dataset can be made from."""
        least = {"seed": 0, "train": 0, "val": 0, "frames": 1, "height": 64, "width": 64}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise InputError(f"--{name} is {getattr(self, name)}; give at least {low}")
        if self.train + self.val == 0:
            raise InputError("--train and --val are both 0; there is nothing to make")
        return self

    def difference(self, other: Settings) -> str:
        """The settings that differ, as `name: mine, other's`, or an empty string."""
        pairs = (
            (field.name, getattr(self, field.name), getattr(other, field.name)) for field in dataclasses.fields(self)
        )
        return "; ".join(f"{name}: {mine}, not {others}" for name, mine, others in pairs if mine != others)

    def write(self, root: Path) -> None:
        """Writes them to `root`."""
        (root / FILE).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, root: Path) -> Settings:
        """Reads those of the dataset at `root`; InputError where there is none."""
        path = Path(root) / FILE
        if not path.is_file():
            raise InputError(f"{root}: no MiniVID dataset ({FILE} is missing); make one: python -m lib.dataset.minivid")
        try:
            return cls(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}: not the settings of a MiniVID dataset ({error}); remove the folder") from error
