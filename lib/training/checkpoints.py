"""Checkpoints: weights files, and the state that training needs to continue exactly where it stopped."""

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
    """Adds `<layer>_weight_test` and `<layer>_bias_test`, which predict box deltas without normalisation, to `args`.

    Channel (class * 4 + coordinate) * bins + bin of the layer predicts a normalised delta; times `stds` plus `means`
    of its coordinate, it is the delta. bins: 49 for 7x7 position-sensitive pooling. Raises ValueError if the number of
    channels is not a multiple of 4 * bins.
    """
    weight, bias = (args[f"{layer}_{kind}"] for kind in ("weight", "bias"))
    classes, rest = divmod(len(weight), 4 * bins)
    if rest:
        raise ValueError(f"{layer}: {len(weight)} channels are not a multiple of 4 coordinates x {bins} bins")
    std, mean = (np.repeat(np.tile(np.asarray(values, np.float32), classes), bins) for values in (stds, means))
    folded = {
        f"{layer}_weight{params.TEST_SUFFIX}": weight * std[:, None, None, None],
        f"{layer}_bias{params.TEST_SUFFIX}": bias * std + mean,
    }
    return {**args, **folded}


@dataclass(frozen=True)
class Checkpoint:
    """The state of training after `step` steps of epoch `epoch` (from 0).

    args, auxs, optimizer: numpy arrays by name. totals: running (sum, count) of each metric.
    No generator is stored: the random numbers of the next steps depend only on epoch and step.
    """

    epoch: int
    step: int
    args: Mapping[str, np.ndarray]
    auxs: Mapping[str, np.ndarray]
    optimizer: Mapping[str, np.ndarray]
    totals: Mapping[str, np.ndarray] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one training: `<prefix>-0002.params` after two epochs, `<prefix>-latest.params` within one,
    and next to each a `.state.npz` with the optimizer's state and the position.

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
        path = self._named(name, ".params")
        params.save(path, self.completed(checkpoint.args), checkpoint.auxs)
        arrays = {
            "position": np.array([checkpoint.epoch, checkpoint.step], dtype=np.int64),
            # ties the state to these weights, since the two files cannot be replaced in one step
            "params_sha256": np.array(sha256(path)),
            **{_OPTIMIZER + key: np.asarray(value) for key, value in checkpoint.optimizer.items()},
            **{_TOTALS + key: np.asarray(value) for key, value in checkpoint.totals.items()},
        }
        with replacing(self._named(name, ".state.npz")) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
        if epoch_end:
            for suffix in (".state.npz", ".params"):
                self._named("latest", suffix).unlink(missing_ok=True)
        return path

    def newest(self) -> Checkpoint | None:
        """The checkpoint with the most progress; None if there is none.

        States whose weights are missing or were replaced are skipped with a warning.
        """
        found = []
        for path in self.prefix.parent.glob(f"{self.prefix.name}-*.state.npz"):
            try:
                with np.load(path, allow_pickle=False) as file:
                    epoch, step = (int(v) for v in file["position"])
            except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
                log.warning("%s: skipped, because it is not the state of a checkpoint (%s)", path, error)
                continue
            found.append((epoch, step, path))
        for epoch, step, path in sorted(found, reverse=True):
            weights = path.with_name(path.name[: -len(".state.npz")] + ".params")
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if not weights.is_file() or sha256(weights) != str(arrays["params_sha256"]):
                log.warning("%s: skipped, because its weights %s are missing or were replaced", path, weights.name)
                continue
            args, auxs = params.load(weights)
            optimizer, totals = (
                {name[len(start) :]: value for name, value in arrays.items() if name.startswith(start)}
                for start in (_OPTIMIZER, _TOTALS)
            )
            return Checkpoint(epoch, step, params.for_training(args), auxs, optimizer, totals)
        log.info("no checkpoint %s-* to continue from: training starts from the beginning", self.prefix)
        return None

    def forget(self) -> None:
        """Deletes the states (not the weights) of an earlier training, so that a new one cannot continue from them."""
        for path in self.prefix.parent.glob(f"{self.prefix.name}-*.state.npz"):
            log.info("deleting %s of an earlier training", path)
            path.unlink()
