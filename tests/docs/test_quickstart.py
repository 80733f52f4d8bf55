"""The notebook docs/quickstart.ipynb runs from top to bottom with the PyTorch backend."""

from __future__ import annotations

import json

import pytest

from tests.conftest import needs
from tests.tiny import ROOT

NOTEBOOK = ROOT / "docs/quickstart.ipynb"


def test_it_is_committed_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def checkout(folder):
    """A checkout without results: links to everything else."""
    for path in ROOT.iterdir():
        if path.name not in ("output", ".git"):
            (folder / path.name).symlink_to(path)
    return folder


@pytest.mark.timeout(900)
def test_it_runs(tmp_path, monkeypatch):
    for package in ("torch", "nbclient", "ipykernel"):
        needs(package)
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.delenv("PYTHONPATH", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = checkout(tmp_path)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    shown = [set(output.get("data", ())) for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert {"image/gif", "image/png", "text/html"} <= set().union(*shown)  # boxes, flow, film
    assert "umbrella 0.9" in printed
    assert list(folder.rglob("output/quickstart/**/*-0001.params"))
