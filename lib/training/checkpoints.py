"""Checkpoints: weights files, and the state that training needs to continue exactly where it stopped."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lib.errors import InputError, check_regular, quoted
from lib.files import sha256, sync
from lib.nets import params
from lib.reading import foreign, join, load_arrays, save_arrays, split

log = logging.getLogger(__name__)

_STATE, _WEIGHTS, _NEW = ".state.npz", ".params", ".new.params"


def with_test_weights(args: Mapping, *, means: Sequence[float], stds: Sequence[float], bins: int) -> dict:
    """Adds `rfcn_bbox_weight_test` and `rfcn_bbox_bias_test`, which predict deltas without normalisation, to `args`.

    Channel (class * 4 + coordinate) * bins + bin of the layer predicts a normalised delta; times `stds` plus `means`
    of its coordinate, it is the delta. bins: 49 for 7x7 position-sensitive pooling. Raises ValueError if the number of
    channels is not a multiple of 4 * bins.
    """
    weight, bias = (args[f"rfcn_bbox_{kind}"] for kind in ("weight", "bias"))
    classes, rest = divmod(len(weight), 4 * bins)
    if rest:
        raise ValueError(f"rfcn_bbox: {len(weight)} channels are not a multiple of 4 coordinates x {bins} bins")
    std, mean = (np.repeat(np.tile(np.asarray(values, np.float32), classes), bins) for values in (stds, means))
    folded = {
        f"rfcn_bbox_weight{params.TEST_SUFFIX}": weight * std[:, None, None, None],
        f"rfcn_bbox_bias{params.TEST_SUFFIX}": bias * std + mean,
    }
    return {**args, **folded}


def averaged(weights: Path) -> Path:
    """The file of the averaged weights (TRAIN.EMA) beside these: net-0002.params -> net_ema-0002.params."""
    prefix, _, name = weights.name.rpartition("-")
    return weights.with_name(f"{prefix}_ema-{name}")


@dataclass(frozen=True)
class Checkpoint:
    """The state of training after `step` steps of epoch `epoch` (from 0).

    args, auxs, optimizer: numpy arrays by name. totals: running (sum, count) of each metric. devices: those that share
    the images of a step, in all processes; 0 if unknown. averages: of the trained weights (TRAIN.EMA), or none.
    No generator is stored: the random numbers of the next steps depend only on epoch and step.
    """

    epoch: int
    step: int
    args: Mapping[str, np.ndarray]
    auxs: Mapping[str, np.ndarray]
    optimizer: Mapping[str, np.ndarray]
    totals: Mapping[str, np.ndarray] = field(default_factory=dict)
    devices: int = 0
    averages: Mapping[str, np.ndarray] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one training: `<prefix>-0002.params` after two epochs, `<prefix>-latest.params` within one,
    and next to each a `.state.npz` with the optimizer's state and the position, and, if weights are averaged, the
    averaged ones (`averaged`).

    A state names its weights by their SHA-256. They are first written as `<name>.new.params` and renamed when the state
    is in place, so that at every moment one state and its weights are complete.

    complete: `complete(args) -> args` adds weights that are only stored in the file, such as `with_test_weights`.
    """

    def __init__(self, prefix: Path, complete: Callable[[Mapping], Mapping] | None = None) -> None:
        self.prefix = Path(prefix)
        self._complete = complete

    def path(self, epoch: int) -> Path:
        """The weights file after `epoch` epochs."""
        return self._named(f"{epoch:04d}", ".params")

    @property
    def best(self) -> Path:
        """The weights file with the best validation."""
        return self._named("best", ".params")

    def completed(self, args: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Parameters with those that are only stored in the file."""
        return self._complete(args) if self._complete else args

    def _named(self, name: str, suffix: str) -> Path:
        return self.prefix.parent / f"{self.prefix.name}-{name}{suffix}"

    def save(self, checkpoint: Checkpoint) -> Path:
        """Writes a checkpoint and returns the path of its weights. Readers never see half of one."""
        epoch_end = checkpoint.step == 0
        name = f"{checkpoint.epoch:04d}" if epoch_end else "latest"
        path, new = self._named(name, _WEIGHTS), self._named(name, _NEW)
        params.save(new, self.completed(checkpoint.args), checkpoint.auxs)
        if checkpoint.averages:
            params.save(averaged(path), self.completed({**checkpoint.args, **checkpoint.averages}), checkpoint.auxs)
        else:
            averaged(path).unlink(missing_ok=True)  # of an earlier run with TRAIN.EMA
        arrays = {
            "position": np.array([checkpoint.epoch, checkpoint.step], dtype=np.int64),
            "devices": np.array(checkpoint.devices, dtype=np.int64),
            # Ties the state to these weights, since the two files cannot be replaced in one step.
            "params_sha256": np.array(sha256(new)),
            **join(optimizer=checkpoint.optimizer, totals=checkpoint.totals, averages=checkpoint.averages),
        }
        save_arrays(self._named(name, _STATE), arrays)
        new.replace(path)
        sync(path.parent)
        if epoch_end:
            self._drop_latest()
        return path

    def _drop_latest(self) -> None:
        latest = self._named("latest", _WEIGHTS)
        for path in (self._named("latest", _STATE), latest, averaged(latest)):
            path.unlink(missing_ok=True)

    def newest(self) -> Checkpoint | None:
        """The checkpoint with the most progress; None if there is none.

        Damaged ones, and states whose weights are missing or were replaced, are skipped with a warning. Raises
        InputError if nothing else is left, since training from the beginning would overwrite what may be repaired.
        """
        found, faults = [], []
        for path in self._states():
            try:
                found.append((*_position(path), path))
            except InputError as error:
                log.warning("%s; skipped", error)
                faults.append(error)
        for _, _, path in sorted(found, reverse=True):
            try:
                return _read(path)
            except InputError as error:
                log.warning("%s; skipped", error)
                faults.append(error)
        name = self.prefix.name
        weights = sorted({*self.prefix.parent.glob(f"{name}-*[0-9]{_WEIGHTS}"), self._named("latest", _WEIGHTS)})
        lone = [path for path in weights if path.is_file()]
        if faults or lone:
            what = faults[0] if faults else f"{lone[0]}: has no {_STATE} file to continue from"
            raise InputError(
                f"{what}, and there is no other checkpoint; restore the file, or remove {self.prefix}-* and start over"
            )
        log.info("no checkpoint %s-* to continue from: training starts from the beginning", self.prefix)
        return None

    def _states(self) -> list[Path]:
        return sorted(self.prefix.parent.glob(f"{self.prefix.name}-*{_STATE}"))

    def settle(self, epoch: int = 0) -> None:
        """Completes the changes of a killed process; call it before training continues, with the number of epochs that
        are complete. It may have left weights that are not renamed yet, and `latest` from within one of those epochs.
        """
        states = {path.name[: -len(_STATE)]: path for path in self._states()}
        for new in self.prefix.parent.glob(f"{self.prefix.name}-*{_NEW}"):
            name = new.name[: -len(_NEW)]
            if name in states and _weights_of(states[name]) == new:
                new.replace(new.with_name(name + _WEIGHTS))
            else:
                new.unlink()
        latest = self._named("latest", _STATE)
        with contextlib.suppress(InputError):  # a damaged one stays until the next replaces it
            if epoch and (not latest.is_file() or _position(latest)[0] < epoch):
                self._drop_latest()

    def check_unused(self) -> None:
        """Raises InputError if there is an earlier training, which a new one would overwrite."""
        for path in sorted(self.prefix.parent.glob(f"{self.prefix.name}-*")):
            if path.name.endswith((_STATE, _WEIGHTS)):
                raise InputError(
                    f"{path}: is from an earlier training; continue it with --resume, choose another --name for a new "
                    "one, or remove the folder"
                )

    def forget(self) -> None:
        """Deletes the states (not the weights) of an earlier training, so that a new one cannot continue from them."""
        for path in self._states():
            log.info("deleting %s of an earlier training", path)
            path.unlink()
        self.settle()


def _arrays(state: Path) -> dict[str, np.ndarray]:
    """The content of a state. Raises InputError if it is damaged."""
    return load_arrays(state, "it is no state of a checkpoint to continue from")


def _position(state: Path) -> tuple[int, int]:
    """(epoch, step) of a state. Raises InputError if it is damaged."""
    with foreign(state, "damaged", "it is no state of a checkpoint to continue from"):
        check_regular(state)
        with np.load(state, allow_pickle=False) as arrays:
            position = arrays["position"]
        if position.shape != (2,) or position.dtype != np.int64 or position.min() < 0:
            raise ValueError("no position")
        return int(position[0]), int(position[1])


def _weights_of(state: Path, arrays: dict[str, np.ndarray] | None = None) -> Path | None:
    """The weights that belong to a state; None if they are missing, damaged or were replaced."""
    try:
        wanted = str((arrays or _arrays(state))["params_sha256"])
    except (InputError, KeyError):
        return None
    start = state.name[: -len(_STATE)]
    for path in (state.with_name(start + _WEIGHTS), state.with_name(start + _NEW)):
        if path.is_file() and sha256(path) == wanted:
            return path
    return None


def _read(state: Path) -> Checkpoint:
    """The checkpoint of a state. Raises InputError if it is damaged, does not fit its weights, or these are missing or
    were replaced.
    """
    (epoch, step), arrays = _position(state), _arrays(state)
    weights = _weights_of(state, arrays)
    if weights is None:
        name = state.name[: -len(_STATE)] + _WEIGHTS
        raise InputError(f"{state}: its weights {name} are missing, damaged or were replaced")
    args, auxs = params.load(weights)
    optimizer, totals, averages = split(arrays, "optimizer", "totals", "averages")
    for name, value in optimizer.items():
        of = name.partition(":")[2]
        fits = value.shape == args[of].shape if of in args else name == "steps" and value.shape == (1,)
        if not fits or value.dtype.kind not in "fi" or not np.isfinite(value).all():
            raise InputError(f"{state}: {quoted(name)} of the optimizer does not fit the weights or is not finite")
    for name, value in averages.items():
        fits = name in args and value.shape == args[name].shape
        if not fits or value.dtype.kind != "f" or not np.isfinite(value).all():
            raise InputError(f"{state}: the average of {quoted(name)} does not fit the weights or is not finite")
    for name, value in totals.items():
        if value.shape != (2,) or value.dtype.kind != "f" or not np.isfinite(value).all():
            raise InputError(f"{state}: {quoted(name)} of the losses is not a pair of finite numbers")
    devices = arrays.get("devices", np.array(0))
    if devices.shape or devices.dtype.kind != "i":
        raise InputError(f"{state}: its number of devices is not a whole number")
    return Checkpoint(epoch, step, params.for_training(args), auxs, optimizer, totals, int(devices), averages)
