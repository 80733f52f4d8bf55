from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from lib.eval.bootstrap import Difference, Interval
from lib.eval.evaluation import evaluate
from lib.eval.pictures import save_pictures
from lib.eval.ranges import AREA, MOTION, Range, shown_order
from lib.eval.tables import Table, class_table, difference_table, motion_area_table, motion_table, report, side_by_side
from tests.eval.reference import class_list, table_of, truth_of

BOX = (100, 100, 199, 199)
FRAMES = [(1, [(1, BOX, 1.0)]), (2, [(1, BOX, 0.5), (2, (0, 0, 9, 9), 0.8)])]
RESULT = evaluate(table_of([(1, 1, 0.9, BOX), (2, 1, 0.8, (160, 160, 260, 260))]), truth_of(FRAMES), class_list(3))


def test_text_and_markdown_of_a_table():
    table = Table("Title", ["", "all", "fast"], [["mAP", "7.0", "-"], ["longer", "100.0", "3.0"]])
    assert table.text() == "Title\n          all  fast\nmAP       7.0     -\nlonger  100.0   3.0\n"
    assert table.markdown() == (
        "**Title**\n\n|  | all | fast |\n|---|---:|---:|\n| mAP | 7.0 | - |\n| longer | 100.0 | 3.0 |\n"
    )


def test_motion_row_is_all_slow_medium_fast():
    table = motion_table(RESULT)
    assert table.columns == ["", "all", "slow", "medium", "fast"]
    assert table.rows == [["mAP", "25.0", "100.0", "0.0", "0.0"]]
    intervals = {name: Interval(0.5, 0.25, 0.75) for name in ("all", "slow", "medium", "fast")}
    assert motion_table(RESULT, intervals, "FGFA").rows[0][:2] == ["FGFA", "50.0 [25.0, 75.0]"]


def test_motion_by_area_has_rows_slow_medium_fast_all():
    table = motion_area_table(RESULT)
    assert table.columns == ["", "small", "middle", "large", "all"]
    assert table.rows == [
        ["slow", "-", "100.0", "-", "100.0"],
        ["medium", "0.0", "-", "-", "0.0"],
        ["fast", "-", "0.0", "-", "0.0"],
        ["all", "0.0", "50.0", "-", "25.0"],
    ]


def test_class_rows_and_their_mean():
    table = class_table(RESULT)
    assert table.columns == ["class", "objects", "all", "slow", "medium", "fast"]
    assert table.rows[0] == ["class0", "2", "50.0", "100.0", "-", "0.0"]
    assert table.rows[2] == ["class2", "0", "-", "-", "-", "-"]
    assert table.rows[3][:3] == ["mean", "3", "25.0"]


def test_custom_ranges_are_sorted_for_display():
    assert [MOTION[i].name for i in shown_order(MOTION)] == ["fast", "medium", "slow", "all"]
    assert [AREA[i].name for i in shown_order(AREA)] == ["small", "middle", "large", "all"]
    own = (Range("high", 0.5, 1.0), Range("low", 0.0, 0.5))
    assert [own[i].name for i in shown_order(own)] == ["low", "high"]
    result = evaluate(table_of([]), truth_of(FRAMES), class_list(3), motion_ranges=own, area_ranges=AREA[:1])
    assert motion_table(result).columns == ["", "high", "low"]
    assert [row[0] for row in motion_area_table(result).rows] == ["high", "low"]


def test_differences_show_signs_and_stars():
    name = "all"
    difference = Difference(
        {name: Interval(0.031, 0.012, 0.05)},
        {name: {"class0": Interval(-0.01, -0.04, 0.02), "class1": Interval(-0.02, -0.03, -0.01), "class2": None}},
    )
    result = evaluate(table_of([]), truth_of(FRAMES), class_list(3), motion_ranges=MOTION[:1])
    assert difference_table(difference, result).rows == [
        ["mean", "+3.1 [+1.2, +5.0]*"],
        ["class0", "-1.0 [-4.0, +2.0]"],
        ["class1", "-2.0 [-3.0, -1.0]*"],
        ["class2", "-"],
    ]
    assert difference_table(difference, result).note == ""


def test_differences_of_few_videos_have_no_stars_but_a_note():
    mean = {"all": Interval(-0.043, -0.043, -0.043, 5)}
    classes = {"all": {"class0": Interval(0.1, 0.1, 0.1, 4), "class1": None}}
    result = evaluate(table_of([]), truth_of(FRAMES), class_list(2), motion_ranges=MOTION[:1])
    table = difference_table(Difference(mean, classes), result)
    assert table.rows == [["mean", "-4.3 [-4.3, -4.3]*"], ["class0", "+10.0 [+10.0, +10.0]"], ["class1", "-"]]
    assert table.text().splitlines()[-1] == table.markdown().splitlines()[-1] == table.note
    assert table.note.startswith("No * where fewer than 5 videos have objects")


def test_methods_side_by_side():
    intervals = {"all": Interval(0.5, 0.4, 0.6), "fast": Interval(0.3, 0.2, 0.4)}
    table = side_by_side({"R-FCN": (RESULT, intervals), "FGFA": (RESULT, intervals)}, ["all", "fast"])
    assert table.rows == [[name, "50.0 [40.0, 60.0]", "30.0 [20.0, 40.0]"] for name in ("R-FCN", "FGFA")]


def test_report_has_all_tables():
    whole = report(RESULT, coco={"AP": 0.25, "AP50": -1.0, "classes": []})
    assert "AP50" in whole.text()
    assert whole.tables[-1].rows == [["mean", "25.0", "-"]]
    assert whole.markdown().count("|---|") == 4
    assert len(whole.tables) == 4


def test_pictures_are_drawn(tmp_path):
    for path in save_pictures(RESULT, tmp_path / "new"):
        image = np.asarray(Image.open(path).convert("RGB"))
        assert min(image.shape[:2]) > 100
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 5


def test_names_are_no_formulas(tmp_path):
    classes = dataclasses.replace(RESULT.classes, names=[r"$\frac$", "$_", "a$b$"])
    areas = [dataclasses.replace(entry, name=rf"$\{entry.name}$") for entry in RESULT.area_ranges]
    save_pictures(dataclasses.replace(RESULT, classes=classes, area_ranges=tuple(areas)), tmp_path)


def test_pictures_without_objects(tmp_path):
    nothing = evaluate(table_of([]), truth_of([(1, [])]), class_list(2))
    assert all(path.stat().st_size > 500 for path in save_pictures(nothing, tmp_path))
