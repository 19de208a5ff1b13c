"""The notebooks run from the first cell to the last, and each result is displayed as a table or a picture."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "examples" / "notebooks"
# Pictures and tables that each displays.
EXPECTED = {"train": (4, 6), "inspect_and_explain": (1, 4)}
ALL_IMAGES, FEW_IMAGES = "training=400, validation=100", "training=80, validation=20"


def test_all_notebooks_are_listed_and_without_outputs() -> None:
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in NOTEBOOKS.glob("*.ipynb")}
    assert set(found) == set(EXPECTED)
    cells = [cell for notebook in found.values() for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)


@pytest.mark.parametrize(
    ("name", "images"),
    [("train", FEW_IMAGES), *(pytest.param(name, ALL_IMAGES, marks=pytest.mark.slow) for name in EXPECTED)],
)
def test_notebook_runs(name: str, images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(NOTEBOOKS.parents[1]), os.environ.get("PYTHONPATH", "")]))
    # The kernel is not told to show figures: they appear without a magic command.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    assert images == ALL_IMAGES or ALL_IMAGES in text
    notebook = nbformat.reads(text.replace(ALL_IMAGES, images), as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures, tables = EXPECTED[name]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == pictures
    assert sum("text/html" in output.get("data", {}) for output in outputs) == tables
    for output in outputs:
        assert "NotebookFigure" not in output.get("data", {}).get("text/html", "")
    _check_progress(outputs)


def _check_progress(outputs: list[Any]) -> None:
    """Each line of progress replaces the one before, so that a notebook does not fill with bars."""
    texts = [output.text for output in outputs if output.output_type == "stream"]
    for text in texts:
        lines = [re.split("[\r\b]", line)[-1] for line in text.splitlines()]
        assert len(lines) < 60, text[:500]
