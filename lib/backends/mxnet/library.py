"""Loading the library of the compiled operators into MXNet, once."""

from __future__ import annotations

import functools

from lib.backends.mxnet.loader import mx
from lib.ops.library import checked


@functools.cache
def load() -> None:
    """Registers the operators with MXNet (`mx.sym.fgfa_*`, `mx.nd.fgfa_*`); later calls do nothing.

    A symbol's JSON that holds one of them can be read only after this. Raises InputError where the library was not
    built, or was built from other sources.
    """
    mx.library.load(str(checked().resolve()), verbose=False)
