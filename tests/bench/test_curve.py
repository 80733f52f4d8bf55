"""Accuracy vs. time per frame: the frontier, and the whole command on results that are made up."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec

import pytest

from bench import curve
from lib.cli import autotune
from lib.eval.results import save_result
from lib.variants import LIVE
from tests.eval.test_bootstrap import evaluated

NAMES = [name for series in curve.SERIES for name in series.names]


@pytest.fixture
def pages(tmp_path):
    """(results with a different accuracy for each variant, options that keep the command from writing elsewhere)."""
    for number, name in enumerate([*NAMES, *LIVE.values()]):
        result = evaluated(6, 4, skill=0.2 + 0.8 * (number % len(NAMES)) / len(NAMES))
        (tmp_path / "results" / name).mkdir(parents=True)
        save_result(tmp_path / "results" / name / "results.json", result, {})
    for page in ("performance.md", "README.md"):
        (tmp_path / page).write_text("before\n\n" + "\n".join(curve.MARKERS) + "\n\nafter\n")
    options = ["--docs", tmp_path, "--readme", tmp_path / "README.md"]
    return tmp_path, [tmp_path / "results", *options, "--draws", 20]


def run(*argv):
    curve.main(list(map(str, argv)))


def rows(page):
    return re.findall(r"^\| (\w+) \|", page.read_text(), re.MULTILINE)


def test_the_frontier():
    points = {
        "a": (3.0, 90.0),
        "b": (1.0, 70.0),
        "c": (2.0, 70.0),
        "d": (2.0, 80.0),
        "e": (4.0, 85.0),
        "f": (3.0, 91.0),
    }
    assert curve.frontier(points) == ["b", "d", "f"]


def test_measures_and_joins(pages, capsys):
    """The small networks, in two groups, which take turns with R-FCN."""
    folder, options = pages
    few, kind = ["rfcn", "dff_i2", "fgfa_k1"], "float32" if find_spec("mxnet") else "torch-float32"
    run(*options, "--only", *few, "--sizes", "small", "--kind", kind, "--runs", 1, "--together", 1)
    written = json.loads((folder / "curve.json").read_text())
    times = written["times"]["small"]
    assert list(times) == few and times["rfcn"]["speed"] == 1
    for name, found in times.items():
        assert found["seconds"] == pytest.approx(times["rfcn"]["seconds"] / found["speed"]), name
    assert times["dff_i2"]["seconds"] < times["fgfa_k1"]["seconds"]
    assert rows(folder / "performance.md") == few
    assert "rfcn" in rows(folder / "README.md") and "(images/curve.png)" in (folder / "README.md").read_text()
    assert (folder / "images/curve.png").stat().st_size > 10_000


def test_draws_all_variants_with_times_of_before(pages):
    folder, options = pages
    seconds = {name: 1.0 + number for number, name in enumerate(NAMES)}
    times = {name: {"seconds": second, "speed": 1 / second} for name, second in seconds.items()}
    path = folder / "old.json"
    path.write_text(json.dumps({"times": {"full": times, "small": times}}))
    run(*options, "--times", path)
    page = (folder / "performance.md").read_text()
    found = autotune.choices(folder / "curve.json")
    best = max(found, key=lambda choice: choice.accuracy)
    assert found[0] is best and found[-1].name == "rfcn" and 1 < len(found) < len(NAMES)
    assert best.method.name == "fgfa_rfcn" and best.settings[0] == "TEST.KEY_FRAME_INTERVAL=9"
    live = {choice.name: choice.accuracy for choice in autotune.choices(folder / "curve.json", live=True)}
    assert live["rfcn"] == found[-1].accuracy and set(live) <= {choice.name for choice in found}
    assert page.startswith("before\n\n") and page.endswith("\n\nafter\n")
    assert rows(folder / "performance.md") == NAMES
    written = json.loads((folder / "curve.json").read_text())
    assert written["times"] == {"full": times, "small": times} and list(written["mAP, %"]) == NAMES
    path.write_text(json.dumps({"times": {"full": {"rfcn": {"seconds": 1}}}}))
    with pytest.raises(SystemExit):
        run(*options, "--times", path)


def test_a_kind_that_does_not_run_here_is_one_line(pages, capsys, monkeypatch):
    _, options = pages
    with pytest.raises(SystemExit) as end:
        run(*options, "--only", "rfcn", "--kind", "float33")
    assert end.value.code == 2
    assert "float33_rfcn: unknown contestant" in capsys.readouterr().err
