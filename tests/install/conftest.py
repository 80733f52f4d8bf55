from __future__ import annotations

from pathlib import Path

import pytest

from tests.install.checkout import Checkout, Installed


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path)
