"""The pages of docs/ that say something which code can check."""

from __future__ import annotations

import contextlib
import io
import re
import runpy

import cv2
import pytest

from lib.config import leaves
from lib.methods import METHODS
from tests.tiny import ROOT

FENCE = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty folder in which the paths of a checkout lead to its files."""
    for name in ("data", "model"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_page_runs_and_prints_what_it_shows(checkout):
    names, printed = {}, ""
    blocks = FENCE.findall((ROOT / "docs/python.md").read_text(encoding="utf-8"))
    assert {kind for kind, _ in blocks} == {"python", "text"}
    for kind, text in blocks:
        if kind == "text":
            assert printed == text
        else:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(text, "docs/python.md", "exec"), names)
            printed = out.getvalue()
    assert len(names["found"]) == 24
    assert len(names["sure"]) > 0
    assert names["result"].mean[0, 0] > 0.5
    for picture in ("9.png", "9_both.png", "5_flow.png", "5_weight.png"):
        assert cv2.imread(str(checkout / "output/python" / picture)) is not None


def test_the_example_in_the_readme_finds_objects(checkout, capsys):
    ((kind, text),) = FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert kind == "python"
    exec(compile(text, "README.md", "exec"), {})
    lines = [line for line in capsys.readouterr().out.splitlines() if "umbrella" in line]
    assert len(lines) == 24


@pytest.fixture(scope="module")
def settings():
    return runpy.run_path(str(ROOT / "docs/settings.py"))


def test_the_settings_page_is_up_to_date(settings):
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert page == settings["page"](), "run `python docs/settings.py`"


def test_the_settings_page_has_every_key_under_its_section(settings):
    title, seen = None, set()
    for line in settings["page"]().splitlines():
        if line.startswith("## "):
            title = line[3:].strip("`")
        elif line.startswith("| `"):
            key = line.split("`")[1]
            seen.add(key if title == "Top level" else f"{title}.{key}")
    assert seen == {path for method in METHODS.values() for path, _ in leaves(method.schema.tree)}


def test_the_settings_page_marks_keys_without_effect_and_keys_of_one_method(settings):
    page = settings["page"]()
    assert "| `PROPOSAL_MIN_SIZE` | `0` | a whole number | Accepted so that published files load; has no effect" in page
    assert "| `CLASS_AGNOSTIC` | `true` | only `true` |" in page
    weights = [line for line in page.splitlines() if line.startswith("| `WEIGHTS` |")]
    assert len(weights) == 1 and weights[0].startswith("| `WEIGHTS` | `'cosine'` | `'cosine'` or `'mean'` |")
    assert weights[0].endswith(" *FGFA only.* |")


def test_every_section_is_introduced(settings):
    assert set(re.findall(r"^## `([\w.]+)`$", settings["page"](), re.MULTILINE)) | {""} == set(settings["ABOUT"])


def test_the_messages_that_troubleshooting_quotes_are_in_the_source():
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    symptoms = re.findall(r"^\*\*`.*?`\*\*|^\| [^|]+ \|", page, re.MULTILINE)
    quotes = {quote for symptom in symptoms for quote in re.findall("`([^`]+)`", symptom)}
    sources = [*sorted((ROOT / "lib").rglob("*.py")), ROOT / "init.sh"]
    source = re.sub(r'"\s*\n\s*f?"', "", "".join(path.read_text(encoding="utf-8") for path in sources))
    fixed = {part.strip() for quote in quotes for part in re.split(r"[\d…']+|\S*/\S*|TEST\.\w+", quote)}
    assert len(quotes) > 20
    assert sorted(part for part in fixed if part not in source) == ["No module named", "git pull"]  # of other programs


def code_links():
    pages = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("model/*.md")])
    for page in pages:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                yield pytest.param(page, target.split("#")[0], id=f"{page.name}-{target}")


@pytest.mark.parametrize("page, target", list(code_links()))
def test_links_lead_to_files_of_the_checkout(page, target):
    assert (page.parent / target).exists()


def paths_named(page):
    """Files that a page names in code style or in a command, as far as they are below a folder of ours."""
    text = page.read_text(encoding="utf-8")
    return set(
        re.findall(
            r"(?<![\w./-])(?:lib|rfcn|fgfa_rfcn|dff_rfcn|experiments|tests|bench|docs)/[\w/]+\.(?:py|yaml|md|json)",
            text,
        )
    )


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda page: page.name)
def test_files_that_pages_name_are_there(page):
    own = {f"experiments/rfcn/cfgs/mine{number}_rfcn.yaml" for number in ("", 2)}  # what the tutorial's commands write
    assert [path for path in paths_named(page) - own if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda page: page.name)
def test_modules_that_pages_run_are_there(page):
    modules = re.findall(r"python -m ((?:lib|bench)\.[\w.]*\w)(?!\.?\w|…)", page.read_text(encoding="utf-8"))
    assert [name for name in modules if not _module(name)] == []


def _module(name):
    path = ROOT.joinpath(*name.rstrip(".").split("."))
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
