"""The networks as symbols: their JSON is what it was when the golden figures were checked.

tests/data/symbol_hashes.json holds a SHA-256 for every network. If a hash changes, then the network has changed, be it
only in the name of an operator: the test says which one. A change that is meant needs new figures there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import dff_rfcn.network as dff
import fgfa_rfcn.network as fgfa
import rfcn.network as rfcn
from lib.backends.base import Build
from lib.backends.mxnet.functions import OPERATORS
from lib.backends.mxnet.loader import mx
from lib.backends.mxnet.runtime import symbol_of
from lib.config import load_config
from lib.methods import METHODS
from lib.nets import sizes
from lib.nets.flownet import image, pretraining_losses
from lib.nets.resnet import Backbone, classifier
from tests.tiny import ROOT

HASHES = json.loads((Path(__file__).parents[2] / "data" / "symbol_hashes.json").read_text())
SCALES = [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125]
NETWORKS: dict[str, dict[str, Callable]] = {
    "rfcn": {"train": rfcn.losses, "features": rfcn.features, "heads": rfcn.heads, "test": rfcn.test},
    "fgfa_rfcn": {
        "train": fgfa.losses,
        "features": fgfa.features,
        "image": lambda F, cfg: image(F, sizes.flownet(cfg)),
        "flow": fgfa.flow_of_pairs,
        "test": fgfa.test,
        "aggregation": fgfa.aggregation,
        "aggregation_batch2": lambda F, cfg: fgfa.aggregation(F, cfg, 2),
        "aggregation_explain": lambda F, cfg: fgfa.aggregation(F, cfg, 1, True),
    },
    "dff_rfcn": {
        "train": dff.losses,
        "features": dff.features,
        "image": lambda F, cfg: image(F, sizes.flownet(cfg)),
        "flow": dff.flow,
        "heads": dff.heads,
        "propagation": dff.propagation,
        "key_test": dff.key_test,
        "current_test": dff.current_test,
        "batch_test": dff.batch_test,
    },
}


def settings(name: str, size: str, operators: str):
    method = METHODS[name]
    files = {"published": method.published, "minivid": method.bundled}[size]
    return load_config(ROOT / files.cfg, [f"network.OPERATORS={operators}"], method.schema)


def detectors() -> Iterator[tuple[str, Build, str]]:
    """(key, network, operators) of everything that trains, tests or is exported."""
    for method, networks in NETWORKS.items():
        for size in ("published", "minivid"):
            for operators in OPERATORS:
                cfg = settings(method, size, operators)
                for name, network in networks.items():
                    yield f"{method}/{size}/{operators}/{name}", lambda F, n=network, c=cfg: n(F, c), operators
            for name, part in METHODS[method].parts(settings(method, size, "compiled")).items():
                yield f"{method}/{size}/export/{name}", part.build, "compiled"


def pretraining() -> Iterator[tuple[str, Build, str]]:
    """(key, network, operators) of what starts MiniVID's backbone and flow network."""
    cfg = settings("rfcn", "minivid", "compiled")
    net = replace(sizes.backbone(cfg, Backbone.eps), batch_statistics=True)
    yield "minivid/backbone", lambda F: classifier(F, net, cfg.dataset.NUM_CLASSES), "compiled"
    flownet = sizes.flownet(settings("fgfa_rfcn", "minivid", "compiled"))
    yield "minivid/flow", lambda F: pretraining_losses(F, flownet, SCALES), "compiled"


BUILDS = {key: (build, operators) for key, build, operators in (*detectors(), *pretraining())}


@pytest.mark.parametrize("key", BUILDS)
def test_the_network_is_the_one_that_was_checked(key):
    build, operators = BUILDS[key]
    with mx.name.NameManager():  # counts the names of nameless operators from 0, whatever ran before
        symbol = symbol_of(build, OPERATORS[operators]())
    # Another hash means that the network has changed. Its figures must then be checked again; see the docstring.
    assert hashlib.sha256(symbol.tojson().encode()).hexdigest() == HASHES[key]


def test_every_figure_belongs_to_a_network():
    assert set(HASHES) == set(BUILDS)
