from __future__ import annotations

import pytest

from tests.cli.demo_runs import write_clip


@pytest.fixture
def folder(tmp_path):
    """A clip of 12 grey frames."""
    return write_clip(tmp_path / "clip", [f"{i:06d}.JPEG" for i in range(12)])
