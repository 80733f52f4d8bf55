from __future__ import annotations

import sys

import numpy as np
import pytest

from lib.errors import InputError
from lib.eval.coco import coco_average_precision
from lib.eval.detections import DetectionTable
from tests.eval.reference import class_list, table_of, truth_of

pytest.importorskip("pycocotools")

BOX = (100, 100, 199, 199)
FRAMES = [(1, [(1, BOX, 0.5)]), (2, [(1, BOX, 0.5), (2, (300, 300, 309, 309), 0.5)])]


def ap(found):
    return coco_average_precision(table_of(found), truth_of(FRAMES), class_list(3))


def test_perfect_detections(capsys):
    found = [(1, 1, 0.9, BOX), (2, 1, 0.8, BOX), (2, 2, 0.9, (300, 300, 309, 309)), (7, 3, 0.9, BOX)]
    result = ap(found)
    assert [result[name] for name in ("AP", "AP50", "AP_small", "AP_large")] == pytest.approx([1.0] * 4)
    assert result["AP_medium"] == -1.0
    assert result["classes"] == [pytest.approx(1.0), pytest.approx(1.0), -1.0]
    assert capsys.readouterr().out == ""


def test_the_overlap_decides_which_thresholds_are_passed():
    # IoU 0.72 passes .50 .55 .60 .65 .70 of ten thresholds; widths are inclusive.
    result = ap([(1, 1, 0.9, (100, 100, 199, 171)), (2, 1, 0.8, (100, 100, 199, 171))])
    assert result["classes"][0] == pytest.approx(0.5)
    assert result["AP75"] == 0.0
    np.testing.assert_allclose(result["AP50"], 0.5)  # class 2 has no detections


def test_nothing_found_and_nothing_to_find():
    assert ap([])["AP"] == 0.0
    empty = coco_average_precision(DetectionTable.empty(), truth_of([(1, [])]), class_list(2))
    assert empty["AP"] == -1.0
    assert empty["classes"] == [-1.0, -1.0]


def test_missing_pycocotools_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(InputError, match="pip install pycocotools"):
        ap([])
