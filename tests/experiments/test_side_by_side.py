"""Two demo runs side by side in an animation."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from experiments import side_by_side


def test_animation_and_formats_that_cannot_be_one(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(2):
            cv2.imwrite(str(tmp_path / name / f"{number}.JPEG"), np.full((24, 32, 3), 90 * number, np.uint8))
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    side_by_side.main([*folders, "--out", str(tmp_path / "x.webp")])
    with Image.open(tmp_path / "x.webp") as image:
        assert image.n_frames == 2
    for name in ("x.txt", "x.jpg", "x"):
        with pytest.raises(SystemExit) as stop:
            side_by_side.main([*folders, "--out", str(tmp_path / name)])
        assert stop.value.code == 2 and capsys.readouterr().err.endswith(f"{name}: must end in .gif or .webp\n")
