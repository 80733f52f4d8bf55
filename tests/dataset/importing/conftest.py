from __future__ import annotations

import pytest

from tests.dataset.importing.imported import put_frames


@pytest.fixture
def media(tmp_path):
    """Folders a and b, of three and two frames."""
    put_frames(tmp_path / "media" / "a", 3)
    put_frames(tmp_path / "media" / "b", 2)
    return tmp_path / "media"
