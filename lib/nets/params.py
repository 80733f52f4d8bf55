"""Parameter files: reading, checking against a network, and starting values for new layers.

A file is in MXNet's own format, keys `arg:NAME` and `aux:NAME`. Beside `X` it may hold `X_test`, with the box
targets' normalisation folded in; testing takes that in its place.

    python -m lib.nets.params inspect FILE          what is in it, and which network it fits
    python -m lib.nets.params convert FILE OUT      from torchvision, PyTorch FlowNetS or Caffe
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lib.backends.mxnet.loader import mx
from lib.errors import InputError
from lib.files import replacing

TEST_SUFFIX = "_test"


def load(path: str | Path) -> tuple[dict, dict]:
    """(args, auxs) as NDArrays by name. Raises InputError: no such file (with where to get it), or not parameters."""
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: no such weights; train them first, or see model/README.md for where published weights come from"
        )
    try:
        stored = mx.nd.load(str(path))
    except mx.base.MXNetError:
        raise InputError(f"{path}: not an MXNet parameter file, or cut short; get or write it anew") from None
    if not isinstance(stored, dict):
        raise InputError(f"{path}: holds arrays without names; expected names like arg:conv1_weight")
    parts: dict[str, dict] = {"arg": {}, "aux": {}}
    for key, value in stored.items():
        kind, colon, name = key.partition(":")
        if not colon or kind not in parts:
            raise InputError(f"{path}: array {key!r} is not named arg:NAME or aux:NAME")
        parts[kind][name] = value
    return parts["arg"], parts["aux"]


def save(path: str | Path, args: Mapping, auxs: Mapping) -> None:
    """Writes weights (numpy or NDArray by name) in MXNet's format: keys `arg:NAME` and `aux:NAME`."""
    arrays = {}
    for kind, values in (("arg", args), ("aux", auxs)):
        for name, value in values.items():
            arrays[f"{kind}:{name}"] = value if isinstance(value, mx.nd.NDArray) else mx.nd.array(value)
    with replacing(path) as temporary:
        mx.nd.save(str(temporary), arrays)


def for_test(args: Mapping) -> dict:
    """Parameters to test with: every `X_test` in place of `X`."""
    return {name: args.get(name + TEST_SUFFIX, value) for name, value in for_training(args).items()}


def for_training(args: Mapping) -> dict:
    """Parameters without those made for testing."""
    return {name: value for name, value in args.items() if not name.endswith(TEST_SUFFIX)}


def shapes_of(symbol, **inputs: tuple) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """Shapes of a symbol's parameters (args, auxs) for known shapes of its inputs, the inputs left out.

    Of `inputs` those count that the symbol has.
    """
    names = symbol.list_arguments()
    arg_shapes, _, aux_shapes = symbol.infer_shape(**{name: inputs[name] for name in names if name in inputs})
    args = dict(zip(names, arg_shapes))
    return (
        {name: shape for name, shape in args.items() if name not in inputs},
        dict(zip(symbol.list_auxiliary_states(), aux_shapes)),
    )


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


def initial(name: str, shape: tuple, seed: int) -> np.ndarray:
    """Starting value of a new parameter, drawn from its own stream so that it does not depend on the others.

    He's normal for the embedding, the flow network and backbones trained from nothing; normal 0.01 for the detection
    layers; zeros for biases, betas and means; ones for gammas and variances.
    """
    if name.endswith(("_bias", "_beta", "_moving_mean")):
        return np.zeros(shape, np.float32)
    if name.endswith(("_gamma", "_moving_var")):
        return np.ones(shape, np.float32)
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    if name.startswith(("feat_conv_3x3", "rpn_", "rfcn_", "fc_")):
        std = 0.01
    elif name.startswith(
        ("deconv", "upsample_flow")
    ):  # (in, out, 4, 4) at stride 2: an output sees 2 x 2 of the kernel
        std = np.sqrt(2.0 / (shape[0] * 4))
    else:
        std = np.sqrt(2.0 / np.prod(shape[1:]))
    return (rng.standard_normal(shape) * std).astype(np.float32)


def start(wanted: Mapping[str, tuple], pretrained: Mapping, seed: int, new: tuple[str, ...]) -> tuple[dict, list[str]]:
    """Values to start training from: the pretrained ones where name and shape fit, else `initial` for layers that may
    be new; and the names of those.

    wanted: shapes by name; new: prefixes of layers that may be new. Others that the pretrained weights lack raise
    InputError.
    """
    values, fresh = {}, []
    for name, shape in wanted.items():
        value = pretrained.get(name)
        if value is not None and tuple(value.shape) == tuple(shape):
            values[name] = value
        elif name.startswith(new):
            values[name] = initial(name, shape, seed)
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
