"""Finds the networks of this project that a parameter file fits, and where it differs from the others.

The networks are those of the YAML files under experiments/<method>/cfgs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.backends.choice import backend_of
from lib.config import load_config
from lib.files import sha256
from lib.inference.detector import parameter_shapes
from lib.methods import method_named, method_of
from lib.nets import params
from lib.nets.flownet import is_flow_layer
from lib.nets.resnet import is_backbone_layer

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
PARTS = {"backbone": is_backbone_layer, "flow network": is_flow_layer}
LISTED = 12  # names in a line

Shapes = Mapping[str, tuple]


@dataclass(frozen=True)
class Network:
    """A network, or a part of one that training can start from: shapes of its parameters and states by name.

    settings: the YAML files that describe it. part: '' for a whole detector, which accepts no other parameters.
    """

    method: str
    part: str
    settings: tuple[str, ...]
    shapes: Shapes

    @property
    def title(self) -> str:
        return f"{self.part or 'detector'} of {self.method}"


@dataclass(frozen=True)
class Fit:
    """How a file differs from a network: missing and extra names, and other shapes (name -> given, wanted)."""

    network: Network
    missing: list[str]
    extra: list[str]
    misshapen: dict[str, tuple[tuple, tuple]]

    @property
    def fits(self) -> bool:
        """Whether the network accepts the file; a part ignores extra parameters."""
        return not self.missing and not self.misshapen and bool(self.network.part or not self.extra)

    @property
    def distance(self) -> float:
        """Fraction of all names that are wrong."""
        wrong = len(self.missing) + len(self.misshapen) + len(self.extra)
        return wrong / (len(self.network.shapes) + len(self.extra))


def networks(cfg_paths: Sequence[Path] = (), method: str = "") -> list[Network]:
    """The networks of these YAML files (default: all under experiments) and their parts, without duplicates.

    Parts lack layers that training adds to them, such as DFF's scale map in the flow network.
    Raises InputError if the method of a file is unknown.
    """
    alike: dict[tuple, list[str]] = {}
    for path in cfg_paths or sorted(EXPERIMENTS.glob("*/cfgs/*.yaml")):
        record = method_named(method, "--method") if method else method_of(path)
        cfg = load_config(path, schema=record.schema)
        needed = {name: part for name, part in record.parts(cfg).items() if part.needed}
        args, auxs = parameter_shapes(needed, backend_of(cfg))
        shapes = {**args, **auxs}
        old = {name: shape for name, shape in shapes.items() if not name.startswith(tuple(record.new_layers))}
        for part, belongs in {"": lambda _: True, **PARTS}.items():
            own = {name: shape for name, shape in (old if part else shapes).items() if belongs(name)}
            key = (part, record.name, tuple(sorted(own.items())))
            if key[2]:
                alike.setdefault(key, []).append(Path(path).name)
    return [Network(name, part, tuple(files), dict(shapes)) for (part, name, shapes), files in alike.items()]


def compare(given: Shapes, network: Network) -> Fit:
    """given: shapes by name, without the parameters made for testing."""
    wanted = network.shapes
    return Fit(
        network,
        sorted(set(wanted) - set(given)),
        sorted(set(given) - set(wanted)),
        {name: (given[name], wanted[name]) for name in sorted(set(given) & set(wanted)) if given[name] != wanted[name]},
    )


def report(path: str | Path, known: Iterable[Network], listing: bool = True) -> tuple[str, bool]:
    """(text about a parameter file, whether a network accepts it). Raises InputError if it is not a parameter file."""
    path = Path(path)
    args, auxs = params.load(path, finite=False)
    total = sum(value.size for value in [*args.values(), *auxs.values()])
    lines = [
        f"{path}: {path.stat().st_size / 1e6:.1f} MB, sha256 {sha256(path)}",
        f"{len(args)} arguments, {len(auxs)} auxiliary states, {total:,} values",
    ]
    broken = []
    for kind, values in (("arg", args), ("aux", auxs)):
        for name, value in sorted(values.items()):
            if listing:
                lines.append(f"  {kind} {name} {tuple(value.shape)} {np.dtype(value.dtype).name}")
            if not np.isfinite(value).all():
                broken.append(name)
    if broken:
        lines.append(f"NOT FINITE: {_names(broken)}; training diverged or the file is damaged")
    given = {name: tuple(value.shape) for name, value in {**params.for_training(args), **auxs}.items()}
    for_testing = sorted(set(args) - set(params.for_training(args)))
    if for_testing:
        lines.append(f"for testing: {_names(for_testing)}")
    fits = sorted(
        (compare(given, network) for network in known), key=lambda fit: (bool(fit.network.part), fit.distance)
    )
    fitting = [fit for fit in fits if fit.fits]
    detectors = [fit for fit in fitting if not fit.network.part]
    for fit in detectors or fitting:
        ignored = f"; ignores {_names(fit.extra)}" if fit.extra else ""
        lines.append(f"fits the {fit.network.title} ({', '.join(fit.network.settings)}){ignored}")
    if not fitting and fits:
        nearest = min(fits, key=lambda fit: fit.distance)
        lines.append(f"fits none; the nearest is the {nearest.network.title} ({', '.join(nearest.network.settings)}):")
        for what, names in (("missing", nearest.missing), ("extra", nearest.extra)):
            lines += [f"  {what}: {_names(names)}"] if names else []
        for name, (given_shape, wanted) in nearest.misshapen.items():
            lines.append(f"  wrong shape: {name} {given_shape} instead of {wanted}")
    return "\n".join(lines) + "\n", bool(fitting) and not broken


def _names(names: Sequence[str]) -> str:
    """The number of names, and the first of them."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{len(names)} ({', '.join(names[:LISTED])}{more})"
