from __future__ import annotations

import pytest

from tests.conftest import needs


@pytest.fixture(autouse=True)
def mxnet():
    needs("mxnet")
