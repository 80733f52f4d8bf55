"""The tables of `make reproduce`, from results that are made up."""

from __future__ import annotations

import json
import runpy

import pytest

from lib.errors import InputError
from lib.eval.results import save_result
from lib.eval.tables import put_between
from tests.eval.test_bootstrap import evaluated
from tests.tiny import ROOT, run_script

SCRIPT = "experiments/minivid/report.py"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The docs folder after a run."""
    folder = tmp_path_factory.mktemp("report")
    plan = runpy.run_path(str(ROOT / "experiments/minivid/reproduce.py"))["Plan"]()
    results = folder / "results"
    for number, step in enumerate(plan.steps()):
        if step.output.name == "results.json":
            path = results / step.output.parent.name / "results.json"
            path.parent.mkdir(parents=True)
            save_result(path, evaluated(6, 4, skill=0.2 + 0.01 * number), {})
    for when in ("before", "after", "sharp"):
        (results / f"flow_{when}.json").write_text(json.dumps({"1": {"zero": 2.0, "epe": 1.0, "ratio": 0.5}}))
    (folder / "README.md").write_text("\n".join(runpy.run_path(str(ROOT / SCRIPT))["MARKERS"]))
    run_script(SCRIPT, results, "--docs", folder, "--readme", folder / "README.md", "--draws", 20)
    return folder


def test_faster_variants_are_compared_with_their_first_row(written):
    """Each variant has been made more accurate than the one before it."""
    lines = (written / "minivid_results.md").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("**FGFA with chained flow"))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[start + 4 : start + 37]]
    names = [row[0] for row in rows]
    assert names[:6] == ["fgfa_k5", *(f"fgfa_k5_h{hop}" for hop in (1, 2, 3, 5)), "fgfa_k9"]
    assert names.count("fgfa_k9") == 1 and "fgfa_k14_h5" in names and names[-1] == "fgfa_k9_h3_d10_live"
    first = 0.0
    for name, accuracy, *_, difference, _fast in rows:
        if not difference:
            first = float(accuracy)
        else:
            assert float(difference.split()[0]) == pytest.approx(float(accuracy) - first, abs=0.11), name
    assert any(line.startswith("| 1 frame apart |") for line in lines)
    found = json.loads((written / "minivid.json").read_text())["faster"]
    assert set(found) == {name for name, *_, difference, _fast in rows if difference}


def test_a_page_without_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("start\nnothing else\n")
    with pytest.raises(InputError, match=r"page\.md: the markers start and end are missing; add them"):
        put_between(page, ("start", "end"), "text")
