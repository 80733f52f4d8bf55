"""Reading pictures and making network input of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from lib.dataset.image import prepare, read, scale_of
from lib.errors import InputError

MEANS = (103.06, 115.90, 123.15)


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def write_jpeg(path, image, **options):
    Image.fromarray(image[:, :, ::-1]).save(path, "JPEG", quality=95, **options)


def test_read_gives_bgr(tmp_path):
    image = np.zeros((16, 24, 3), np.uint8)
    image[..., 0] = 200  # blue
    write_jpeg(tmp_path / "a.JPEG", image)
    found = read(tmp_path / "a.JPEG")
    assert found.shape == (16, 24, 3) and found.dtype == np.uint8
    np.testing.assert_allclose(found.reshape(-1, 3).mean(axis=0), [200, 0, 0], atol=4)


def test_grey_pictures_get_three_channels(tmp_path):
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / "a.png")
    assert (read(tmp_path / "a.png") == 77).all() and read(tmp_path / "a.png").shape == (8, 8, 3)


def test_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    write_jpeg(tmp_path / "a.JPEG", picture(16, 24), exif=exif)
    assert read(tmp_path / "a.JPEG").shape == (16, 24, 3)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_anywhere_is_an_error(tmp_path, progressive):
    path = tmp_path / "a.JPEG"
    write_jpeg(path, picture(64, 64), progressive=progressive)
    content = path.read_bytes()
    assert read(path).shape == (64, 64, 3)
    for length in (0, 1, 2, 10, 200, 700, len(content) // 2, len(content) - 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"a\.JPEG"):
            read(path)


def test_the_end_of_an_embedded_thumbnail_is_not_the_end(tmp_path):
    path = tmp_path / "a.JPEG"
    write_jpeg(path, picture(32, 32))
    content = path.read_bytes()
    thumbnail = b"Exif\0\0" + content
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = content[:2] + segment + content[2:]
    path.write_bytes(whole)
    assert read(path).shape == (32, 32, 3)
    path.write_bytes(whole[: len(whole) // 2 + len(segment) // 2 - 100])
    with pytest.raises(InputError, match="truncated image"):
        read(path)


def test_bytes_behind_the_end_do_no_harm(tmp_path):
    path = tmp_path / "a.JPEG"
    write_jpeg(path, picture(16, 16))
    path.write_bytes(path.read_bytes() + b"\0" * 99)
    assert read(path).shape == (16, 16, 3)


def test_a_cut_png_is_an_error(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(picture(32, 32)).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match="truncated image"):
        read(path)


@pytest.mark.parametrize(
    "content", [b"no picture at all", b"\xff\xd8\xff\xe0rubbish" * 50 + b"\xff\xd9", b"\xff\xd8\xff"]
)
def test_rubbish_is_an_error(tmp_path, content):
    (tmp_path / "a.JPEG").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.JPEG"):
        read(tmp_path / "a.JPEG")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match=r"nope\.JPEG: cannot read the image: No such file"):
        read(tmp_path / "nope.JPEG")
    with pytest.raises(InputError, match="cannot read the image"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [
        (720, 1280, 1000 / 1280),
        (1280, 720, 1000 / 1280),
        (480, 640, 600 / 480),
        (600, 1000, 1),
        (600, 1001, 1000 / 1001),
    ],
)
def test_scale(height, width, scale):
    assert scale_of(height, width, 600, 1000) == scale


def test_the_long_side_may_round_to_the_limit():
    # 600 / 375 * 625.3 would be 1000.48: that still counts as 1000
    assert scale_of(1500, 2501, 600, 1000) == 600 / 1500


def test_prepare_without_resizing_by_hand():
    image = picture(20, 30)
    data, im_info = prepare(image, 20, 30, MEANS)
    assert data.shape == (1, 3, 20, 30) and data.dtype == im_info.dtype == np.float32
    np.testing.assert_array_equal(im_info, [[20, 30, 1]])
    np.testing.assert_allclose(data[0, 0], image[:, :, 2] - 123.15, rtol=1e-5, atol=1e-5)  # red first
    np.testing.assert_allclose(data[0, 2], image[:, :, 0] - 103.06, rtol=1e-5, atol=1e-5)


def test_prepare_flips_before_it_resizes():
    image = picture(33, 47)
    data, im_info = prepare(image, 50, 100, MEANS, flip=True)
    mirrored, _ = prepare(np.ascontiguousarray(image[:, ::-1]), 50, 100, MEANS)
    np.testing.assert_array_equal(data, mirrored)
    assert im_info[0, 2] == np.float32(50 / 33)


def test_prepare_samples_by_the_factor():
    image = picture(333, 500)
    data, im_info = prepare(image, 600, 1000, MEANS)
    assert im_info[0].tolist() == [600, round(500 * 600 / 333), np.float32(600 / 333)]
    expected = cv2.resize(image, None, fx=600 / 333, fy=600 / 333, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(data[0, 1], expected[:, :, 1] - np.float32(115.9), atol=1e-4)


def test_prepare_refuses_other_arrays():
    for image in (np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3), np.float32)):
        with pytest.raises(ValueError, match="expected"):
            prepare(image, 5, 5, MEANS)


def test_a_picture_too_thin_to_be_resized():
    with pytest.raises(InputError, match="3000x1 is too thin"):
        prepare(np.zeros((1, 3000, 3), np.uint8), 600, 1000, (0, 0, 0))


def test_jpeg_of_many_scans(tmp_path):
    """A scan of a few bytes costs as much time as one of all pixels, so a small file could take minutes."""
    write_jpeg(tmp_path / "a.jpg", picture(64, 64), progressive=True)
    content = (tmp_path / "a.jpg").read_bytes()
    assert read(tmp_path / "a.jpg").shape == (64, 64, 3)
    last = content[content.rindex(b"\xff\xda") : -2]
    comment = b"\xff\xfe\x00\x06\xff\xd9\xff\xda"  # whose markers do not count
    (tmp_path / "a.jpg").write_bytes(content[:-2] + comment * 99 + b"\xff\xd9" + last * 99)
    assert read(tmp_path / "a.jpg").shape == (64, 64, 3)
    (tmp_path / "a.jpg").write_bytes(content[:-2] + comment + last * 99 + b"\xff\xd9")
    with pytest.raises(InputError, match=r"a\.jpg: JPEG file of more than 100 scans; save it again"):
        read(tmp_path / "a.jpg")
