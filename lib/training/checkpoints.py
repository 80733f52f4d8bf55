"""Weights in files, and everything that training needs to go on exactly where it stopped."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lib.files import replacing, sha256
from lib.nets import params

log = logging.getLogger(__name__)

_OPTIMIZER, _TOTALS = "optimizer/", "totals/"


def with_test_weights(
    args: Mapping, *, means: Sequence[float], stds: Sequence[float], bins: int, layer: str = "rfcn_bbox"
) -> dict:
    """`args` and beside them `<layer>_weight_test` and `<layer>_bias_test`, which give deltas without normalisation.

    The layer's channel is (class * 4 + coordinate) * bins + bin; the outputs of weight and bias times `stds` plus
    `means` of the coordinate are the deltas. bins: 49 for 7x7 position-sensitive pooling. Raises ValueError where the
    channels are no multiple of 4 * bins.
    """
    weight, bias = (args[f"{layer}_{kind}"] for kind in ("weight", "bias"))
    classes, rest = divmod(len(weight), 4 * bins)
    if rest:
        raise ValueError(f"{layer}: {len(weight)} channels are no multiple of 4 coordinates x {bins} bins")
    std, mean = (np.repeat(np.tile(np.asarray(values, np.float32), classes), bins) for values in (stds, means))
    folded = {
        f"{layer}_weight{params.TEST_SUFFIX}": weight * std[:, None, None, None],
        f"{layer}_bias{params.TEST_SUFFIX}": bias * std + mean,
    }
    return {**args, **folded}


@dataclass(frozen=True)
class Checkpoint:
    """Where training stands: `step` steps of epoch `epoch` (from 0) are done.

    args, auxs, optimizer: numpy arrays by name. totals: running (sum, count) of what is measured.
    The random numbers to come follow from epoch and step.
    """

    epoch: int
    step: int
    args: Mapping[str, np.ndarray]
    auxs: Mapping[str, np.ndarray]
    optimizer: Mapping[str, np.ndarray]
    totals: Mapping[str, np.ndarray] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one training: `<prefix>-0002.params` after two epochs, `<prefix>-latest.params` within one,
    and beside each a `.state.npz` with the optimizer's memory and the position.

    complete: `complete(args) -> args` adds weights that only the file has, such as `with_test_weights`.
    """

    def __init__(self, prefix: Path, complete: Callable[[Mapping], Mapping] | None = None) -> None:
        self.prefix = Path(prefix)
        self._complete = complete

    def path(self, epoch: int) -> Path:
        """The weights after `epoch` epochs."""
        return self._named(f"{epoch:04d}", ".params")

    def _named(self, name: str, suffix: str) -> Path:
        return self.prefix.parent / f"{self.prefix.name}-{name}{suffix}"

    def save(self, checkpoint: Checkpoint) -> Path:
        """Writes a checkpoint; returns the path of its weights. A reader never finds half of one."""
        whole = checkpoint.step == 0
        name = f"{checkpoint.epoch:04d}" if whole else "latest"
        path = self._named(name, ".params")
        args = self._complete(checkpoint.args) if self._complete else checkpoint.args
        params.save(path, args, checkpoint.auxs)
        arrays = {
            "position": np.array([checkpoint.epoch, checkpoint.step], dtype=np.int64),
            # a state belongs to these very weights: the two files are not written in one move
            "params_sha256": np.array(sha256(path)),
            **{_OPTIMIZER + key: np.asarray(value) for key, value in checkpoint.optimizer.items()},
            **{_TOTALS + key: np.asarray(value) for key, value in checkpoint.totals.items()},
        }
        with replacing(self._named(name, ".state.npz")) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
        if whole:
            for suffix in (".state.npz", ".params"):
                self._named("latest", suffix).unlink(missing_ok=True)
        return path

    def newest(self) -> Checkpoint | None:
        """The checkpoint that has come furthest, None where there is none.

        A state whose weights are missing or are not the ones it was written with is passed over, with a warning.
        """
        found = []
        for path in self.prefix.parent.glob(f"{self.prefix.name}-*.state.npz"):
            try:
                with np.load(path, allow_pickle=False) as file:
                    epoch, step = (int(v) for v in file["position"])
            except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
                log.warning("%s is not a checkpoint's state and is passed over (%s)", path, error)
                continue
            found.append((epoch, step, path))
        for epoch, step, path in sorted(found, reverse=True):
            weights = path.with_name(path.name[: -len(".state.npz")] + ".params")
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if not weights.is_file() or sha256(weights) != str(arrays["params_sha256"]):
                log.warning("%s is passed over: its weights %s are missing or others", path, weights.name)
                continue
            args, auxs = params.load(weights)
            optimizer, totals = (
                {name[len(start) :]: value for name, value in arrays.items() if name.startswith(start)}
                for start in (_OPTIMIZER, _TOTALS)
            )
            return Checkpoint(epoch, step, params.for_training(args), auxs, optimizer, totals)
        log.info("no checkpoint %s-* to go on from: training begins anew", self.prefix)
        return None

    def forget(self) -> None:
        """Removes the states (not the weights) of an earlier training, which a new one must not go on from."""
        for path in self.prefix.parent.glob(f"{self.prefix.name}-*.state.npz"):
            log.info("removing %s of an earlier training", path)
            path.unlink()
