"""Parameter files: reading, checking against a network, and starting values for new layers.

A file is in MXNet's own format, keys `arg:NAME` and `aux:NAME`. Beside `X` it may hold `X_test`, with the box
targets' normalisation folded in; testing takes that in its place.

    python -m lib.nets.params inspect FILE          what is in it, and which network it fits
    python -m lib.nets.params convert FILE OUT      from torchvision, PyTorch FlowNetS or Caffe
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from lib.errors import InputError
from lib.nets import params_file

TEST_SUFFIX = "_test"


def load(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(args, auxs) by name. Raises InputError: no such file (with where to get it), or not parameters."""
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: no such weights; train them first, or see model/README.md for where published weights come from"
        )
    parts: dict[str, dict[str, np.ndarray]] = {"arg": {}, "aux": {}}
    for key, value in params_file.read(path).items():
        kind, colon, name = key.partition(":")
        if not colon or kind not in parts:
            raise InputError(f"{path}: array {key!r} is not named arg:NAME or aux:NAME")
        parts[kind][name] = value
    return parts["arg"], parts["aux"]


def save(path: str | Path, args: Mapping[str, np.ndarray], auxs: Mapping[str, np.ndarray]) -> None:
    """Writes weights in MXNet's format, as float32: keys `arg:NAME` and `aux:NAME`."""
    parts = (("arg", args), ("aux", auxs))
    params_file.write(
        path,
        {f"{kind}:{name}": np.asarray(value, np.float32) for kind, values in parts for name, value in values.items()},
    )


def for_test(args: Mapping) -> dict:
    """Parameters to test with: every `X_test` in place of `X`."""
    return {name: args.get(name + TEST_SUFFIX, value) for name, value in for_training(args).items()}


def for_training(args: Mapping) -> dict:
    """Parameters without those made for testing."""
    return {name: value for name, value in args.items() if not name.endswith(TEST_SUFFIX)}


def check(given: Mapping, wanted: Mapping[str, tuple], source: str) -> None:
    """Raises InputError unless `given` have exactly the names and shapes `wanted`; names the first of each fault."""
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
            f"{len(misshapen)} misshapen, first {name}: {tuple(given[name].shape)} instead of {tuple(wanted[name])}"
        )
    if faults:
        raise InputError(
            f"{source}: weights of another network ({'; '.join(faults)}); give --cfg and --weights that belong together"
        )


# How a parameter starts: (shape, a generator of its own) -> values.
Initializer = Callable[[tuple, np.random.Generator], np.ndarray]


def normal(shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """Normal with standard deviation 0.01, as published for the detection layers."""
    return rng.standard_normal(shape) * 0.01


def he_normal(shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """He's normal for a convolution (out, in, height, width)."""
    return rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))


def he_normal_deconvolution(shape: tuple, rng: np.random.Generator) -> np.ndarray:
    """He's normal for a deconvolution (in, out, 4, 4) at stride 2: an output sees 2 x 2 of the kernel."""
    return rng.standard_normal(shape) * np.sqrt(2.0 / (shape[0] * 4))


# Layers that no pretrained backbone holds, by the start of their names.
DETECTION_LAYERS: dict[str, Initializer] = dict.fromkeys(("feat_conv_3x3", "rpn_", "rfcn_"), normal)
_FROM_SCRATCH: dict[str, Initializer] = {
    **DETECTION_LAYERS,
    "fc_": normal,
    **dict.fromkeys(("deconv", "upsample_flow"), he_normal_deconvolution),
    "": he_normal,
}


def initial(name: str, shape: tuple, seed: int, layers: Mapping[str, Initializer] = _FROM_SCRATCH) -> np.ndarray:
    """Starting value of a new parameter, from a random stream of its own, so that it does not depend on the others.

    By the first of `layers` whose key is its name or starts it; biases, betas and means that are not listed by their
    full name are zeros, gammas and variances ones.
    """
    if name not in layers and name.endswith(("_bias", "_beta", "_moving_mean")):
        return np.zeros(shape, np.float32)
    if name not in layers and name.endswith(("_gamma", "_moving_var")):
        return np.ones(shape, np.float32)
    make = layers[name] if name in layers else next(made for start, made in layers.items() if name.startswith(start))
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    return make(shape, rng).astype(np.float32)


def start(
    wanted: Mapping[str, tuple], pretrained: Mapping[str, np.ndarray], seed: int, new: Mapping[str, Initializer]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Values to start training from: the pretrained ones where name and shape fit, else `initial` for layers that may
    be new; and the names of those.

    wanted: shapes by name; new: how layers that may be new start, by the start of their names. Raises InputError where
    the pretrained weights lack any other.
    """
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
