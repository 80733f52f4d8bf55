"""Parameter files: reading, writing, checking against a network, and initial values for new layers.

Files are in MXNet's own format, with keys `arg:NAME` and `aux:NAME`. In addition to `X`, a file may contain `X_test`,
with the normalisation of the box targets folded in, which testing uses instead.

    python -m lib.nets.params inspect FILE          show what it contains and which network it fits
    python -m lib.nets.params convert FILE OUT      convert from torchvision, PyTorch FlowNetS or Caffe
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from lib.errors import LONGEST, InputError, quoted
from lib.nets import params_file

TEST_SUFFIX = "_test"
MOST_VALUES = 2**28  # of a network to train; FGFA with ResNet-101 has 1.05e8, 1.3e8 for 1000 classes


def load(path: str | Path, *, finite: bool = True) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Reads (args, auxs) by name; those in float16 become float32.

    Raises InputError if the file is missing (saying where to get it) or invalid, and unless `finite` is False, for
    values that are NaN or infinite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: no such weights; train them first, or see model/README.md for where to get published ones"
        )
    parts: dict[str, dict[str, np.ndarray]] = {"arg": {}, "aux": {}}
    for key, value in params_file.read(path).items():
        kind, colon, name = key.partition(":")
        if not colon or kind not in parts:
            raise InputError(f"{path}: array {quoted(key)} is not named arg:NAME or aux:NAME")
        parts[kind][name] = value.astype(np.float32) if value.dtype == np.float16 else value
    broken = [name for values in parts.values() for name, value in values.items() if not np.isfinite(value).all()]
    if finite and broken:
        raise InputError(
            f"{path}: {len(broken)} arrays are not finite, first {broken[0][:LONGEST]}; training diverged or the file "
            "is damaged: use other weights"
        )
    return parts["arg"], parts["aux"]


def save(path: str | Path, args: Mapping[str, np.ndarray], auxs: Mapping[str, np.ndarray]) -> None:
    """Writes weights in MXNet's format, as float32, with keys `arg:NAME` and `aux:NAME`."""
    parts = (("arg", args), ("aux", auxs))
    params_file.write(
        path,
        {f"{kind}:{name}": np.asarray(value, np.float32) for kind, values in parts for name, value in values.items()},
    )


def for_test(args: Mapping) -> dict:
    """Parameters for testing: each `X_test` replaces `X`."""
    return {name: args.get(name + TEST_SUFFIX, value) for name, value in for_training(args).items()}


def for_training(args: Mapping) -> dict:
    """Parameters without those for testing."""
    return {name: value for name, value in args.items() if not name.endswith(TEST_SUFFIX)}


def check(given: Mapping, wanted: Mapping[str, tuple], source: str) -> None:
    """Raises InputError unless `given` has exactly the names and shapes `wanted`; names a fault of each kind."""
    faults = []
    missing = sorted(set(wanted) - set(given))
    extra = sorted(set(given) - set(wanted))
    misshapen = sorted(name for name in set(wanted) & set(given) if tuple(given[name].shape) != tuple(wanted[name]))
    if missing:
        faults.append(f"{len(missing)} missing, first {missing[0]}")
    if extra:
        faults.append(f"{len(extra)} extra, first {extra[0]}")
    if misshapen:
        name = misshapen[0]
        faults.append(
            f"{len(misshapen)} of wrong shape, first {name}: {tuple(given[name].shape)} instead of "
            f"{tuple(wanted[name])}"
        )
    if faults:
        raise InputError(
            f"{source}: weights of another network ({'; '.join(faults)}); use --cfg and --weights that belong together"
        )


# (shape, a random generator for this parameter only) -> initial values.
Initializer = Callable[[tuple, np.random.Generator], np.ndarray]


def normal(shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """Normal distribution with standard deviation 0.01, as published for the detection layers."""
    return rng.standard_normal(shape) * 0.01


def zeros(shape: tuple, rng: np.random.Generator) -> np.ndarray:
    return np.zeros(shape)


def ones(shape: tuple, rng: np.random.Generator) -> np.ndarray:
    return np.ones(shape)


def he_normal(shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """He's normal distribution for a convolution (out, in, height, width)."""
    return rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))


def he_normal_deconvolution(shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """He's normal distribution for a deconvolution (in, out, 4, 4) of stride 2, where 2 x 2 taps reach each output."""
    return rng.standard_normal(shape) * np.sqrt(2.0 / (shape[0] * 4))


# Layers that no pretrained backbone contains, by prefix of their names.
DETECTION_LAYERS: dict[str, Initializer] = dict.fromkeys(("feat_conv_3x3", "rpn_", "rfcn_"), normal)
_FROM_SCRATCH: dict[str, Initializer] = {
    **DETECTION_LAYERS,
    "fc_": normal,
    **dict.fromkeys(("deconv", "upsample_flow"), he_normal_deconvolution),
    "": he_normal,
}


def initial(name: str, shape: tuple, seed: int, layers: Mapping[str, Initializer] = _FROM_SCRATCH) -> np.ndarray:
    """Initial value of a new parameter. Each has its own random stream, so it does not depend on other parameters.

    The initializer is the first of `layers` whose key is the name or a prefix of it. Without a key for the full name,
    biases, betas and means are zeros, gammas and variances ones.
    """
    if name not in layers and name.endswith(("_bias", "_beta", "_moving_mean")):
        return np.zeros(shape, np.float32)
    if name not in layers and name.endswith(("_gamma", "_moving_var")):
        return np.ones(shape, np.float32)
    make = layers[name] if name in layers else next(made for start, made in layers.items() if name.startswith(start))
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    return make(shape, rng).astype(np.float32)


def from_scratch(wanted: Mapping[str, tuple], seed: int) -> dict[str, np.ndarray]:
    """Initial values of all parameters. Raises InputError for too large a network."""
    _check_size(wanted)
    return {name: initial(name, shape, seed) for name, shape in wanted.items()}


def _check_size(wanted: Mapping[str, tuple]) -> None:
    size = sum(math.prod(shape) for shape in wanted.values())
    if size > MOST_VALUES:
        raise InputError(
            f"the settings ask for a network of {size} weights, more than {MOST_VALUES}; reduce the numbers of its "
            "channels in `network`"
        )


def start(
    wanted: Mapping[str, tuple], pretrained: Mapping[str, np.ndarray], seed: int, new: Mapping[str, Initializer]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Values to start training from, and the names of the parameters that start from scratch.

    wanted: shapes by name. Pretrained values are used if name and shape match; layers in `new`, initializers by prefix
    of their names, may start from scratch instead. Raises InputError if the pretrained weights lack another parameter,
    or for too large a network.
    """
    _check_size(wanted)
    values, fresh = {}, []
    for name, shape in wanted.items():
        value = pretrained.get(name)
        if value is not None and tuple(value.shape) == tuple(shape):
            values[name] = value
        elif name.startswith(tuple(new)):
            values[name] = initial(name, shape, seed, new)
            fresh.append(name)
        else:
            found = "lack it" if value is None else f"have it as {tuple(value.shape)}"
            raise InputError(
                f"parameter {name} {tuple(shape)}: the pretrained weights {found}; check network.pretrained"
            )
    return values, fresh


if __name__ == "__main__":
    from lib.cli.weights import main

    main()
