"""The frame baseline has the names and shapes of the published one; `tests/backends/test_golden.py` has its figures."""

from __future__ import annotations

import pytest

from lib.config import make_config
from rfcn import network
from tests.golden import names_and_shapes
from tests.networks import BUILTIN, COMPILED, symbol

OPERATORS = [COMPILED, BUILTIN]


@pytest.mark.parametrize("operators", OPERATORS)
@pytest.mark.parametrize("which, build", [("train", network.losses), ("test", network.test)])
def test_names_and_shapes_are_those_of_the_manifest(manifests, which, build, operators):
    manifest = manifests[f"rfcn_{which}"]
    found = names_and_shapes(symbol(build, make_config({}), F=operators), {**manifest["inputs"], **manifest["labels"]})
    for part in ("params", "aux", "outputs"):
        assert found[part] == manifest[part], part
    assert found["argument_order"] == manifest["argument_order"]
