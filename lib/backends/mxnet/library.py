"""Loads the library of the compiled operators into MXNet, once."""

from __future__ import annotations

import functools

from lib.backends.mxnet.loader import mx
from lib.ops.library import checked


@functools.cache
def load() -> None:
    """Registers the operators with MXNet (`mx.sym.fgfa_*`, `mx.nd.fgfa_*`); later calls do nothing.

    Symbols that contain one of them can only be loaded from JSON after this. Raises InputError if the library is not
    built or was built from other sources.
    """
    mx.library.load(str(checked().resolve()), verbose=False)
