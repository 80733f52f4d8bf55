from __future__ import annotations

import gzip
import importlib.util
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from lib.backends.base import Backend
from lib.backends.choice import make_backend
from lib.config import make_config
from lib.minivid.settings import Settings
from lib.minivid.write import generate
from tests import recipe

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def fresh_logging():
    """Handlers that a script put up write to the stderr of its own test, which is closed after it: they go."""
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)


def needs(package: str) -> None:
    """Skips the test, or the test module that calls this at import, where a package is not installed."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)


@pytest.fixture(scope="session", params=["mxnet", "mxnet-builtin", "torch"])
def backend(request) -> Backend:
    """Each backend that is installed, MXNet with both versions of its operators."""
    name, _, operators = request.param.partition("-")
    needs(name)
    return make_backend(name, make_config({"network": {"OPERATORS": operators or "compiled"}}))


@pytest.fixture(scope="session")
def manifests():
    """Names and shapes of the published networks: {network: {"params": {name: shape}, "outputs": ...}}."""
    networks = json.loads(gzip.decompress((DATA / "manifests.json.gz").read_bytes()))
    for network in networks.values():
        for part in ("inputs", "labels", "params", "aux", "outputs"):
            network[part] = {name: tuple(shape) for name, shape in network[part].items()}
    return networks


@pytest.fixture(scope="session")
def golden():
    """Figures of the published networks at 144x208 with the recipe's weights."""
    with np.load(DATA / "network.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="session")
def golden_weights(manifests):
    """(args, auxs) of the recipe for FGFA, whose names and shapes include those of R-FCN; 420 MB, 3 s."""
    net = manifests["fgfa_train"]
    return tuple({name: recipe.weights(name, shape) for name, shape in net[part].items()} for part in ("params", "aux"))


@pytest.fixture(scope="session")
def minivid(tmp_path_factory):
    """A MiniVID of 3 clips to train on and 2 to test on, 6 frames of 96x64 each. Not to be changed: copy it."""
    out = tmp_path_factory.mktemp("data") / "MiniVID"
    return generate(out, Settings(seed=1, train=3, val=2, frames=6, height=64, width=96), workers=1, progress=False)
