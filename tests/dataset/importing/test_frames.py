"""Images that are stored turned are written upright."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from lib.dataset.image import read
from lib.dataset.importing.frames import ImageFiles, Writing


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation(tmp_path, suffix, orientation):
    stored = np.zeros((24, 48, 3), np.uint8)
    stored[:12, :16] = 250  # a corner, so that no two orientations look the same
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    source = ImageFiles([path])
    (tmp_path / "out").mkdir()
    ((_, size),) = source.write(tmp_path / "out", Writing("copy"))
    written = read(tmp_path / "out/000000.JPEG")
    assert size == source.size(0) == written.shape[1::-1] == expected.shape[1::-1]
    assert np.abs(written.astype(int) - expected).mean() < 5
