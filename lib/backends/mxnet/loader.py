"""The one place that prepares and imports MXNet: `from lib.backends.mxnet.loader import mx`.

`mx` is a proxy that imports MXNet when an attribute is first used, so that evaluation and dataset tools, which
share modules with the networks, run without it, and so that scripts can `select` another build first.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lib import cuda
from lib.errors import InputError, quoted
from lib.machine import cores

# Names that numpy 1.24 removed and MXNet 1.9.1 still uses when it is imported.
_DROPPED_BY_NUMPY = {"bool": bool, "int": int, "float": float, "object": object, "complex": complex, "str": str}

# Each must be set before the import. Without the first, gradients that are summed over 8 or more custom operators are
# wrong; the second silences a log line for every bind.
_ENVIRONMENT = {"MXNET_EXEC_INPLACE_GRAD_SUM_CAP": "1000", "MXNET_SUBGRAPH_VERBOSE": "0"}


@contextlib.contextmanager
def _prepared(package: Path | None) -> Iterator[None]:
    """For the import of MXNet: sets its environment, loads its libraries, and restores the names removed from numpy.

    The names are removed again afterwards: only functions of mx.np use them later, and nothing here calls those.
    """
    # By default, MXNet uses half of the cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(cores()))
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if package is not None:
        cuda.preload(package)
    missing = [name for name in _DROPPED_BY_NUMPY if name not in np.__dict__]
    for name in missing:
        setattr(np, name, _DROPPED_BY_NUMPY[name])
    try:
        yield
    finally:
        for name in missing:
            delattr(np, name)


def select(version: str, root: str | os.PathLike = "external/mxnet") -> None:
    """Makes `mx` the package `<root>/<version>/mxnet`. An empty `version` selects the installed one, and so does
    `mxnet`, the value in published YAML files, if there is no such folder.

    Raises InputError if there is no such package or another MXNet has been imported already.
    """
    if not version:
        return
    if not re.fullmatch(r"\w[\w.+-]*", version):
        raise InputError(f"MXNET_VERSION {quoted(version)}: must be the plain name of a folder in {root}")
    package = Path(root).resolve() / version / "mxnet"
    if version == "mxnet" and not package.parent.exists():
        return
    if not (package / "__init__.py").is_file():
        raise InputError(f"MXNET_VERSION {version!r}: no package {package}; put MXNet there, or leave the key empty")
    loaded = sys.modules.get("mxnet")
    if loaded is not None:
        if loaded.__file__ != str(package / "__init__.py"):
            raise InputError(
                f"MXNET_VERSION {version!r}: {loaded.__file__} has been imported already; start a new process"
            )
        return
    spec = importlib.util.spec_from_file_location(
        "mxnet", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec is not None and spec.loader is not None  # None only for a suffix that Python does not import
    module = importlib.util.module_from_spec(spec)
    sys.modules["mxnet"] = module
    try:
        with _prepared(package):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["mxnet"]
        raise


class _Lazy:
    """Imports MXNet on the first use of an attribute."""

    def __getattr__(self, name: str):
        if "mxnet" not in sys.modules:
            _first_import()
        return getattr(sys.modules["mxnet"], name)


def _first_import() -> None:
    package = cuda.mxnet_folder()
    try:
        with _prepared(package):
            importlib.import_module("mxnet")
    except OSError as error:
        raise InputError(
            f"{package}: MXNet cannot be loaded ({error}); python -m lib.cuda shows what is missing"
        ) from None


mx: Any = _Lazy()
