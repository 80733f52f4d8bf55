from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.bbox.detections import Detections
from lib.dataset.classes import ClassList, default_colour
from lib.video import drawing as visualize
from lib.video.drawing import draw, flow_to_colour, heat_map, side_by_side

NAMES = ["cat", "a rather long name of a class"]
RED, BLUE = (255, 0, 0), (0, 0, 255)


def found(*rows) -> Detections:
    """rows of x1, y1, x2, y2, score, class"""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int32))


def grey(height=192, width=256):
    return np.full((height, width, 3), 127, np.uint8)


def test_box_edges_lie_on_the_inclusive_corners():
    picture = draw(grey(), found((10, 20, 60, 90, 0.9, 1)), NAMES, [RED, BLUE], labels=False)
    painted = np.argwhere((picture != 127).any(axis=2))
    assert painted.min(axis=0).tolist() == [20, 10]
    assert painted.max(axis=0).tolist() == [90, 60]
    assert picture[20, 30].tolist() == [0, 0, 255]  # BGR


def test_image_stays_as_it_was():
    image = grey()
    draw(image, found((10, 20, 60, 90, 0.9, 1)), NAMES)
    assert (image == 127).all()


def test_nothing_found_draws_nothing():
    assert (draw(grey(), found(), NAMES) == 127).all()


def test_threshold_is_inclusive():
    boxes = found((10, 20, 60, 90, 0.5, 1))
    assert (draw(grey(), boxes, NAMES, threshold=0.5) != 127).any()
    assert (draw(grey(), boxes, NAMES, threshold=0.51) == 127).all()


def test_a_class_has_one_colour_whatever_else_is_in_the_frame():
    colours = ClassList.builtin("ImageNetVID").colours
    names = ClassList.builtin("ImageNetVID").names
    alone = draw(grey(), found((10, 20, 60, 90, 0.9, 7)), names, colours, labels=False)
    among = draw(grey(), found((100, 20, 150, 90, 0.8, 2), (10, 20, 60, 90, 0.9, 7)), names, colours, labels=False)
    assert alone[90, 10].tolist() == among[90, 10].tolist() == list(colours[6][::-1])
    plain = draw(grey(), found((10, 20, 60, 90, 0.9, 2)), NAMES, labels=False)
    assert plain[90, 10].tolist() == list(default_colour(2)[::-1])


def test_label_shows_the_track(monkeypatch):
    texts = []
    monkeypatch.setattr(visualize, "_plate", lambda text, *_: texts.append(text) or np.zeros((5, 9, 3), np.uint8))
    boxes = found((10, 20, 60, 90, 0.9, 1), (100, 20, 150, 90, 0.8, 2))
    draw(grey(), boxes, ["cat", "dog"])
    draw(grey(), replace(boxes, tracks=np.int32([4, 17])), ["cat", "dog"])
    assert texts == ["cat 0.90", "dog 0.80", "#4 cat 0.90", "#17 dog 0.80"]


def test_zoom_enlarges_and_moves_boxes_with_it():
    picture = draw(grey(), found((10, 20, 60, 90, 0.9, 1)), NAMES, [RED, BLUE], labels=False, zoom=3)
    assert picture.shape == (576, 768, 3)
    painted = np.argwhere((picture != 127).any(axis=2))
    assert np.abs(painted.min(axis=0) - (60, 30)).max() <= 1
    assert np.abs(painted.max(axis=0) - (272, 182)).max() <= 1


@given(
    st.lists(st.tuples(*[st.floats(-50, 300, width=32)] * 4, st.floats(0, 1, width=32), st.integers(1, 2)), max_size=5),
    st.sampled_from([(1, 1), (12, 400), (192, 256), (33, 20)]),
)
@settings(max_examples=40, deadline=None)
def test_any_box_can_be_drawn_on_any_size(rows, size):
    assert draw(grey(*size), found(*rows), NAMES).shape == (*size, 3)


@pytest.mark.parametrize("box", [(0, 0, 20, 20), (240, 0, 255, 20), (240, 170, 255, 191), (0, 170, 9, 191)])
def test_label_in_a_corner_is_whole(box):
    """The label's plate shows as many pixels at the edge as it does in the middle."""
    colours = [RED, BLUE]
    middle = draw(grey(), found((100, 90, 104, 94, 0.9, 1)), NAMES, colours)
    corner = draw(grey(), found((*box, 0.9, 1)), NAMES, colours)
    count = (middle == (0, 0, 255)).all(axis=2).sum()
    assert (corner == (0, 0, 255)).all(axis=2).sum() > 0.9 * count


def test_labels_of_neighbours_do_not_cover_each_other():
    rows = [(50, 60, 120, 120, 0.9, 1), (52, 61, 121, 120, 0.8, 2)]
    both = draw(grey(), found(*rows), NAMES, [RED, BLUE])
    for row, colour in zip(rows, ((0, 0, 255), (255, 0, 0))):
        alone = draw(grey(), found(row), NAMES, [RED, BLUE])
        plate = (alone == colour).all(axis=2).sum()
        assert (both == colour).all(axis=2).sum() > 0.85 * plate


def test_lines_and_letters_grow_with_the_picture():
    thin = (draw(grey(), found((10, 50, 60, 90, 0.9, 1)), NAMES, labels=False) != 127).any(axis=2)[70].sum()
    thick = (draw(grey(1440, 2560), found((10, 50, 60, 90, 0.9, 1)), NAMES, labels=False) != 127).any(axis=2)[70].sum()
    assert thin == 2 and thick >= 8


def test_flow_colours_of_the_axes():
    flow = np.zeros((2, 1, 5), np.float32)
    flow[0, 0, 1:3] = 4, -4
    flow[1, 0, 3:5] = 4, -4
    still, right, left, down, up = flow_to_colour(flow)[0].tolist()
    assert still == [255, 255, 255]
    assert right == [0, 0, 255]  # red
    assert left[0] == 255 and left[2] == 0  # between cyan and blue
    assert down[0] == 0 and down[2] > down[1] * 0.9  # about yellow
    assert up[0] > 200 and up[1] == 0  # blue to magenta


def test_flow_half_as_long_is_half_as_strong_and_longer_than_the_largest_is_darker():
    flow = np.zeros((2, 1, 3), np.float32)
    flow[0, 0] = 1, 2, 3
    half, full, beyond = flow_to_colour(flow, largest=2.0)[0].tolist()
    assert half == [128, 128, 255] and full == [0, 0, 255] and beyond == [0, 0, 191]


def test_flow_that_is_no_number_is_black_and_no_flow_is_white():
    flow = np.zeros((2, 2, 2), np.float32)
    flow[0, 0, 0] = np.nan
    colour = flow_to_colour(flow)
    assert colour[0, 0].tolist() == [0, 0, 0] and (colour[1] == 255).all()


def test_heat_map_is_red_at_the_peak_and_blue_at_zero():
    weight = np.zeros((4, 4), np.float32)
    weight[:, 3] = 0.7
    blue, _, red = heat_map(grey(64, 64), weight)[32, 62].tolist()
    assert red > blue
    blue, _, red = heat_map(grey(64, 64), weight)[32, 2].tolist()
    assert blue > red
    assert heat_map(grey(64, 64), np.zeros((4, 4)), high=1.0).shape == (64, 64, 3)


@pytest.mark.parametrize("titles", [None, ["baseline", "a long title that does not fit above so narrow a picture"]])
def test_side_by_side_takes_pictures_of_different_sizes(titles):
    picture = side_by_side([grey(100, 60), grey(50, 60)], titles)
    assert picture.shape[1] == 60 + 4 + 120
    assert picture.shape[0] == 100 if titles is None else picture.shape[0] > 110
