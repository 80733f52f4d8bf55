"""Folders of pictures, and animations."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from lib.errors import InputError
from lib.video.pictures import PictureFolder, animate, write_picture
from tests.video.results import result


def test_pictures_keep_name_size_and_format(tmp_path):
    sink = PictureFolder(tmp_path / "out")
    sink.start([])
    for name, kind in (("a.JPEG", "JPEG"), ("b.png", "PNG"), ("c.bmp", "BMP"), ("d.webp", "WEBP")):
        sink.write(result(9, name=name))
        with Image.open(tmp_path / "out" / name) as picture:
            assert (picture.format, picture.size) == (kind, (64, 48))
    assert sorted(path.name for path in sink.path.iterdir()) == ["a.JPEG", "b.png", "c.bmp", "d.webp"]


def test_picture_of_an_unknown_kind(tmp_path):
    with pytest.raises(InputError, match="cannot write this format"):
        write_picture(tmp_path / "a.xyz", np.zeros((4, 4, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_animation_keeps_the_pace_when_it_is_thinned(tmp_path, suffix):
    paths = [tmp_path / f"{i}.png" for i in range(10)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((30, 40, 3), 20 * i, np.uint8))
    out = tmp_path / f"a.{suffix}"
    animate(paths, out, 10.0, max_frames=5, max_size=20)
    with Image.open(out) as animation:
        assert (animation.n_frames, animation.size) == (5, (20, 15))
        for frame in range(5):
            animation.seek(frame)
            assert abs(animation.convert("RGB").getpixel((9, 9))[0] - 40 * frame) <= 3
            assert animation.info["duration"] == 200
    animate(paths[:1], out, 10.0)
    with Image.open(out) as animation:
        assert animation.size == (40, 30)
