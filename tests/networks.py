"""Networks of `lib.nets` and of the methods as MXNet symbols, for tests that look inside."""

from __future__ import annotations

import numpy as np

from lib.backends.mxnet.functions import Builtin, Compiled, Operators
from lib.backends.mxnet.loader import mx
from lib.backends.mxnet.runtime import Forward, shapes_of, symbol_of
from tests.conftest import needs

needs("mxnet")

COMPILED, BUILTIN = Compiled(), Builtin()
EAGER = Compiled(mx.nd)  # on NDArrays


def symbol(network, *arguments, F: Operators = COMPILED, **options):
    """The symbol of a network: a function of F that returns its outputs by name, or one output, or a sequence."""
    outputs = network(F, *arguments, **options)
    if isinstance(outputs, dict):
        return symbol_of(lambda _: outputs, F)
    return mx.sym.Group(list(outputs)) if isinstance(outputs, (list, tuple)) else outputs


def variables(*names: str) -> list:
    return [mx.sym.Variable(name) for name in names]


def run(symbol, args=None, auxs=None, **inputs) -> dict[str, np.ndarray]:
    """Outputs by name on the CPU."""
    outputs = Forward(symbol, mx.cpu(), args or {}, auxs or {})(**inputs)
    return {name: np.asarray(value) for name, value in outputs.items()}


__all__ = ["BUILTIN", "COMPILED", "EAGER", "run", "shapes_of", "symbol", "variables"]
