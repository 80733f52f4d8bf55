"""Package lists, versions that must agree, files that Git keeps, and imports without MXNet."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


def canonical(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement).group()).lower()


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(("file", "extras", "newest"), [
    ("constraints.txt", ["mxnet", "torch"], 12),
    ("constraints-torch.txt", ["torch"], 14),
])  # fmt: skip
def test_constraints_pin_all_requirements(file, extras, newest):
    """Each with one version for each Python."""
    text = (ROOT / file).read_text().replace("-c constraints-common.txt", (ROOT / "constraints-common.txt").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r'[\w.-]+==[\w.]+(; python_version (<|==|>=) "3\.\d+")?', line) for line in lines)
    optional = project()["optional-dependencies"]
    asked = project()["dependencies"] + optional["test"] + ["cython", "setuptools"]
    asked += [line for extra in extras for line in optional[extra]]
    for minor in range(9, newest + 1):
        pins = [canonical(line) for line in lines if Requirement(line).marker is None
                or Requirement(line).marker.evaluate({"python_version": f"3.{minor}"})]  # fmt: skip
        assert len(pins) == len(set(pins)), minor
        assert {canonical(line) for line in asked} <= set(pins), minor


def test_the_version_is_the_same_everywhere():
    version = project()["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version
    released = re.search(r"^## \[(\d.+)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released.groups() == (version, str(citation["date-released"]))


def test_pre_commit_runs_the_pinned_ruff():
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (ruff,) = (repo["rev"] for repo in repos if "ruff" in repo["repo"])
    assert f"\nruff=={ruff[1:]}\n" in (ROOT / "constraints-common.txt").read_text()


def test_ci_runs_every_supported_python():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    matrix = jobs["ci"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.9", "3.10", "3.11", "3.12"] and matrix["backend"] == ["mxnet"]
    assert [(each["python"], each["backend"]) for each in matrix["include"]] == [
        ("3.9", "torch"), ("3.11", "torch"), ("3.13", "torch"), ("3.11", "both")
    ]  # fmt: skip
    assert project()["requires-python"] == ">=3.9,<3.15"


def test_git_ignores_no_file_that_it_keeps():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == ""


def test_evaluation_and_dataset_tools_import_without_mxnet():
    """A `None` in sys.modules makes any import of that name fail."""
    program = """
import importlib, pkgutil, sys
sys.modules["mxnet"] = None
packages = ["lib.config", "lib.bbox", "lib.nms", "lib.dataset", "lib.eval"]
count = 0
for package in packages:
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), package + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
            count += 1
print(count)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
