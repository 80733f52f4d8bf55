from __future__ import annotations

import numpy as np
import pytest

from lib.dataset.classes import ClassList, alike, default_colour
from lib.errors import InputError


def write(tmp_path, text):
    path = tmp_path / "classes.txt"
    path.write_text(text)
    return path


def test_imagenet_vid_is_the_published_order():
    classes = ClassList.builtin("ImageNetVID")
    assert len(classes) == 30
    assert (classes.ids[0], classes.names[0]) == ("n02691156", "airplane")
    assert (classes.ids[6], classes.names[6]) == ("n02958343", "car")
    assert (classes.ids[29], classes.names[29]) == ("n02391049", "zebra")
    assert classes.numbers["n02691156"] == 1
    assert classes.numbers["n02391049"] == 30
    assert classes.names == sorted(classes.names)


def test_builtin_colours_are_distinguishable():
    colours = np.array(ClassList.builtin("ImageNetVID").colours, float)
    distance = np.abs(colours[:, None] - colours[None]).sum(-1) + 1e9 * np.eye(30)
    assert distance.min() >= 40
    assert (colours.max(axis=1) >= 120).all(), "a dark line is lost on a dark picture"


def test_load_skips_comments_and_takes_colours(tmp_path):
    classes = ClassList.load(write(tmp_path, "# own classes\n\nc1 star #ff8000\nc2 fish\n"))
    assert classes == ClassList(["c1", "c2"], ["star", "fish"], [(255, 128, 0), default_colour(2)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c1 star\nc2\n", "classes.txt:2: 1 columns"),
        ("c1 a red star\n", "classes.txt:1: 4 columns"),
        ("c1 star\nc2 a\x01b\n", r"classes.txt:2: name 'a\\x01b' has a control character; remove it"),
        ("c1 star red\n", "classes.txt:1: red is not a colour"),
        ("c1 star\n\nc1 fish\n", "classes.txt:3: id c1 is already in line 1"),
        ("c1 star\nc2 star\n", "classes.txt:2: name star is already in line 1"),
        ("# nothing\n", "contains no class"),
    ],
)
def test_bad_lists_are_named_with_their_line(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        ClassList.load(write(tmp_path, text))


def test_missing_file_and_unknown_builtin(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        ClassList.load(tmp_path / "none.txt")
    with pytest.raises(InputError, match="ImageNetVID"):
        ClassList.builtin("COCO")


def test_dataset_uses_its_own_list_when_it_has_one(tmp_path):
    assert ClassList.of_dataset(tmp_path) == ClassList.builtin("ImageNetVID")
    write(tmp_path, "c1 star\n")
    assert ClassList.of_dataset(tmp_path).ids == ["c1"]


@pytest.mark.parametrize("one, other, expected", [
    ("ball", "bal", True),
    ("Ball", "ball", True),
    ("traffic_light", "trafic_light", True),
    ("duck", "Dukc", True),
    ("cat", "car", False),
    ("car12", "car21", False),
    ("car1", "car2", False),
    ("n02691156", "n02691165", False),
])  # fmt: skip
def test_names_that_may_be_misspelt(one, other, expected):
    assert alike(one, other) is expected and alike(other, one) is expected
